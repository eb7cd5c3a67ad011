// Package soak tests servers under load while they are replaced or killed, or while their database fails. Servers are
// processes of the whole program, which is built once for all tests.
//
//	main_test.go      building the program, and the limits of servers
//	fleet_test.go     several servers behind a balancer (balancer_test.go), with simulated providers behind a front
//	                  that can delay requests (front_test.go)
//	visitor_test.go   a person at a browser; crowd_test.go has many, and figures_test.go their figures
//	rolling_test.go   deploys: servers are replaced one by one; socket_test.go has one server on a passed socket
//	changeover_test.go   moving between the Node server and ours
//	rush_test.go      many requests need the same expired token
//	kill_test.go, kill_answer_test.go, exchange_test.go   servers are killed at random, and at the worst moment
//	faults_*_test.go  PostgreSQL restarts, freezes, fails over, is far away
//
// make test runs short versions. make deploy-test and make fault-test run long ones, which print figures for
// docs/performance.md and docs/operations.md as rows of their tables.
package soak
