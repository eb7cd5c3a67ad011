package main

import (
	"net"
	"os"
	"strings"
	"testing"

	"cairn/internal/testkit"
	"cairn/internal/testkit/process"
)

func TestWhatSocketsArePassed(t *testing.T) {
	t.Parallel()
	one, _ := process.Listening(t)
	two, _ := process.Listening(t)
	packets, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = packets.Close() }()
	udp, err := packets.File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	for name, sockets := range map[string][]*os.File{"two": {one, two}, "not TCP": {udp}} {
		t.Run(name, func(t *testing.T) {
			cmd := serverCommand(t, nil, "DATA_DIR="+testkit.DataDir(t), "PORT=0")
			out, err := process.Passing(cmd, sockets...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "exactly one is expected") {
				t.Errorf("error %v:\n%s", err, out)
			}
		})
	}
}
