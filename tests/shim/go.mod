module lifeboat.dev/tests/containerd-shim

go 1.17

require github.com/containerd/containerd v1.2.0

require (
	github.com/containerd/cgroups v0.0.0-20190919134610-bf292b21730f
	github.com/containerd/console v0.0.0-20180822173158-c12b1e7919c1
	github.com/containerd/fifo v0.0.0-20180307165137-3d5202aec260
	github.com/containerd/go-runc v0.0.0-20180907222934-5a6d9f37cfa3
	github.com/containerd/ttrpc v0.0.0-20180920185216-2a805f718635
	github.com/containerd/typeurl v0.0.0-20180627222232-a93fcdb778cd
	github.com/coreos/go-systemd v0.0.0-20190321100706-95778dfbb74e
	github.com/docker/go-units v0.4.0
	github.com/godbus/dbus v0.0.0-20190422162347-ade71ed3457e
	github.com/gogo/protobuf v1.0.0
	github.com/golang/protobuf v1.1.0
	github.com/opencontainers/go-digest v1.0.0-rc1
	github.com/opencontainers/runc v1.0.0-rc5
	github.com/opencontainers/runtime-spec v1.0.1
	github.com/pkg/errors v0.8.0
	github.com/sirupsen/logrus v1.0.1
	golang.org/x/net v0.0.0-20180826012351-8a410e7b638d
	golang.org/x/sys v0.0.0-20220722155257-8c9f86f7a55f
	google.golang.org/genproto v0.0.0-20180817151627-c66870c02cf8
	google.golang.org/grpc v1.12.0
)
