package db

// Batch is how many rows one statement sweeps at most, so that none exceeds its time limit, however much is left over
// from an outage.
const Batch = 500
