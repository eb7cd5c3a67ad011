// Package bench measures the built server against others on the same machine in one run (make bench).
//
//	sessions_test.go  signed-in requests: ours, one raw SELECT, stock scs; 10,000 and 1,000,000 sessions
//	previous_test.go  this version and another one
//	storm_test.go     many sign-ins at once with little memory
//	expired_test.go   deleting a million expired rows under load
//	rivals_test.go    the servers that ours is compared with
//	fill_test.go      people and sessions in the databases
//	load_test.go      the requests and their results
//	machine_test.go   PostgreSQL, databases, processes and their memory
//
// A single figure says little on a noisy machine. So the contenders take turns in each round, and the result is the
// median of the ratios within rounds.
package bench
