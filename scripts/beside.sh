#!/bin/sh
# Runs a command beside a number of busy processes, and prints how long it took: sh scripts/beside.sh 8 make test
set -u

count=$1
shift
busy=
for _ in $(seq "$count"); do
	sh -c 'while :; do :; done' &
	busy="$busy $!"
done
trap '[ -z "$busy" ] || kill $busy' EXIT # $busy has only the ids of these processes
trap 'exit 130' INT TERM
began=$(date +%s)
"$@"
code=$?
echo "$(($(date +%s) - began)) seconds beside $count busy processes, exit code $code"
exit "$code"
