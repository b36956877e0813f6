/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goroutines of containerd's shims as they were dumped in a deadlock and out of it, for tests to put
 * together: a dump is a header, a first goroutine and others.
 */
#pragma once

#define DUMP_BEGIN                                                                                \
	"time=\"2026-11-23T21:10:43Z\" level=info msg=\"=== BEGIN goroutine stack dump ===\n"     \
	"goroutine 9 [running]:\n"                                                                \
	"main.dumpStacks(0x23b41d848190)\n"                                                       \
	"\t/go/src/github.com/containerd/containerd/cmd/containerd-shim/main_unix.go:227 +0x4f\n" \
	"created by main.executeShim in goroutine 1\n"                                            \
	"\t/go/src/github.com/containerd/containerd/cmd/containerd-shim/main_unix.go:145 +0x509\n\n"
#define DUMP_END "=== END goroutine stack dump ===\"\n"

#define DUMP_MAIN_TAIL(caller)                                                                            \
	caller "(0x23b41d848190, 0x23b41d916540)\n"                                                       \
	       "\t/go/src/github.com/containerd/containerd/cmd/containerd-shim/main_unix.go:196 +0x293\n" \
	       "main.main()\n"                                                                            \
	       "\t/go/src/github.com/containerd/containerd/cmd/containerd-shim/main_unix.go:95 +0x65\n\n"

/* Goroutine ID in STATE, in the function and file PLACE ("shim.Reap()\n\t…/reaper.go"). */
#define DUMP_REAP(id, state, package, file)                     \
	"goroutine " id " [" state "]:\n"                       \
	"github.com/containerd/containerd/" package ".Reap()\n" \
	"\t" file ":44 +0x126\n" DUMP_MAIN_TAIL("main.handleSignals")

#define DUMP_WEDGED                                    \
	DUMP_REAP("1", "chan send", "runtime/v1/shim", \
		  "/go/pkg/mod/github.com/containerd/containerd@v1.2.0/runtime/v1/shim/reaper.go")
#define DUMP_HEALTHY "goroutine 1 [select]:\n" DUMP_MAIN_TAIL("main.handleSignals")
/* Fixed and slow: it waits with a time limit. */
#define DUMP_FIXED                             \
	DUMP_REAP("1", "select", "sys/reaper", \
		  "/go/src/github.com/containerd/containerd/sys/reaper/reaper_unix.go")

#define DUMP_LOCK                                                           \
	"goroutine 5 [sync.Mutex.Lock]:\n"                                  \
	"sync.runtime_SemacquireMutex(0x40f8c5?, 0xff?, 0x23b41d8bc5a0?)\n" \
	"\t/usr/local/go/src/runtime/sema.go:95 +0x25\n"                    \
	"sync.(*Mutex).Lock(...)\n"                                         \
	"\t/usr/local/go/src/sync/mutex.go:46\n"
#define DUMP_LOCK_OLD                                    \
	"goroutine 5 [semacquire, 10 minutes]:\n"        \
	"sync.runtime_SemacquireMutex(0xc42008c004)\n"   \
	"\t/usr/local/go/src/runtime/sema.go:71 +0x3d\n" \
	"sync.(*Mutex).Lock(0xc42008c000)\n"             \
	"\t/usr/local/go/src/sync/mutex.go:134 +0xee\n"

#define DUMP_FRAME(function) \
	"github.com/containerd/" function "(0x1, 0x2)\n\t/go/src/file.go:1 +0x1\n"
#define DUMP_V1 "containerd/runtime/v1/shim."

#define DUMP_FORM_A                                            \
	DUMP_LOCK DUMP_FRAME(DUMP_V1 "(*Monitor).Unsubscribe") \
		DUMP_FRAME(DUMP_V1 "(*Monitor).Wait") "\n"
#define DUMP_FORM_B                                               \
	DUMP_LOCK DUMP_FRAME(DUMP_V1 "(*Service).checkProcesses") \
		DUMP_FRAME(DUMP_V1 "(*Service).processExits") "\n"
#define DUMP_FORM_B_OLD                                                                  \
	DUMP_LOCK_OLD DUMP_FRAME("containerd/runtime/v2/runc.(*service).checkProcesses") \
		DUMP_FRAME("containerd/runtime/v2/runc.(*service).processExits") "\n"
#define DUMP_FORM_C                                                                         \
	"goroutine 6 [chan receive]:\n" DUMP_FRAME(DUMP_V1 "(*Monitor).Wait")               \
		DUMP_FRAME("go-runc.(*Runc).runOrError") DUMP_FRAME("go-runc.(*Runc).Kill") \
			DUMP_FRAME("containerd/runtime/v1/linux/proc.(*Init).KillAll")      \
				DUMP_FRAME(DUMP_V1 "(*Service).checkProcesses") "\n"
#define DUMP_FORM_D                                                                       \
	DUMP_LOCK DUMP_FRAME(DUMP_V1 "(*Monitor).Subscribe")                              \
		DUMP_FRAME(DUMP_V1 "(*Monitor).Start") DUMP_FRAME("go-runc.(*Runc).Kill") \
			DUMP_FRAME("containerd/runtime/v1/linux/proc.(*Init).KillAll")    \
				DUMP_FRAME(DUMP_V1 "(*Service).checkProcesses") "\n"
