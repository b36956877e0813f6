// SPDX-License-Identifier: Apache-2.0

// A Go program with goroutines that wait for all kinds of things, which writes a dump of them to
// standard error on SIGUSR1, as a container shim does. For test_goroutine_capture.c, which builds it.
//
//	goroutines READY [plain|escaped|lines|unmarked|silent] [copy]
//
// READY is made once it catches the signal. "copy": standard input is passed on to standard output, as
// a shim passes a container's output.
package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

type waiter struct {
	lock   sync.Mutex
	shared sync.RWMutex
	nobody chan int
}

func (w *waiter) sendForever(name string, numbers []int) { w.nobody <- len(name) + len(numbers) }

func (w *waiter) lockForever() { w.lock.Lock() }

func generic[T any](value T, done chan T) { done <- value }

func makeGoroutines() {
	w := &waiter{nobody: make(chan int)}
	w.lock.Lock()
	w.shared.Lock()
	var group sync.WaitGroup
	group.Add(1)
	cond := sync.NewCond(&sync.Mutex{})
	reader, _, _ := os.Pipe()

	for i := 0; i < 5; i++ {
		go w.sendForever("a", []int{1, 2})
	}
	go w.lockForever()
	go w.shared.RLock()
	go group.Wait()
	go generic("x", make(chan string))
	go func() { cond.L.Lock(); cond.Wait() }()
	go func() { <-make(chan int) }()
	go func() { <-(chan int)(nil) }()
	go func() { (chan int)(nil) <- 1 }()
	go func() { select {} }()
	go func() {
		select {
		case <-make(chan int):
		case <-time.After(time.Hour):
		}
	}()
	go func() { time.Sleep(time.Hour) }()
	go func() { reader.Read(make([]byte, 1)) }()
	go func() { runtime.LockOSThread(); <-make(chan int) }()
	go func() { syscall.Select(0, nil, nil, nil, nil) }()
}

func writeDump(form string) {
	buffer := make([]byte, 1<<20)
	text := string(buffer[:runtime.Stack(buffer, true)])
	marked := "=== BEGIN goroutine stack dump ===\n" + text + "\n=== END goroutine stack dump ==="
	switch form {
	case "plain":
		os.Stderr.WriteString("level=info msg=\"" + marked + "\" id=1\n")
	case "escaped":
		fmt.Fprintf(os.Stderr, "level=info msg=%q id=1\n", marked)
	case "lines":
		for _, line := range strings.SplitAfter(marked+"\n", "\n") {
			os.Stderr.WriteString(line)
		}
	case "unmarked":
		os.Stderr.WriteString(text)
	}
}

func main() {
	signals := make(chan os.Signal, 8)
	form := "plain"
	if len(os.Args) > 2 {
		form = os.Args[2]
	}
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGPIPE)
	makeGoroutines()
	if len(os.Args) > 3 && os.Args[3] == "copy" {
		// Hidden from io.Copy, which would splice: a terminal's output is read and written.
		go io.Copy(struct{ io.Writer }{os.Stdout}, struct{ io.Reader }{os.Stdin})
	}
	time.Sleep(50 * time.Millisecond) // so that they all wait when the test asks
	if err := os.WriteFile(os.Args[1], nil, 0o600); err != nil {
		panic(err)
	}
	for s := range signals {
		if s == syscall.SIGUSR1 {
			writeDump(form)
		}
	}
}
