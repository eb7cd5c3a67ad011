// Package bench measures the built server against others on the same machine, in one run: make bench.
//
//	sessions_test.go  signed-in requests: ours, one raw SELECT, stock scs; 10,000 and 1,000,000 sessions
//	storm_test.go     many sign-ins at once in little memory
//	expired_test.go   a million expired rows, deleted under load
//	rivals_test.go    what ours is compared with
//	load_test.go      the requests and their results
//	machine_test.go   PostgreSQL, databases, processes and their memory
//
// A single figure says little where machines are noisy. So the contenders take turns in each round,
// and the result is the median of the ratios within rounds.
package bench
