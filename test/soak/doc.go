// Package soak replaces, kills and starves servers while people use them, and prints what people notice. Servers are
// processes of the whole program, built for these tests once.
//
//	main_test.go      building the program, and the limits of servers
//	fleet_test.go     servers behind a balancer (balancer_test.go), with providers on a way that can be held up
//	                  (front_test.go)
//	visitor_test.go   people at browsers; crowd_test.go has many of them, figures_test.go what they saw
//	rolling_test.go   deploys: servers are replaced one by one; socket_test.go has one server and its socket
//	rush_test.go      everybody wants one token
//	kill_test.go, kill_answer_test.go, exchange_test.go   servers die at any moment, and at the worst
//	faults_*_test.go  PostgreSQL restarts, freezes, fails over, is far away
//
// make test runs them for a moment, make deploy-test and make fault-test at length, and those print figures for
// docs/performance.md.
package soak
