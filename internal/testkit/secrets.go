package testkit

// Secrets that servers accept in production.
const (
	Key1   = "8f3a61d90c5be2174a9d60f7b8c2e53516d47b0ea38f29c1705be6d84293fa1c" // for ENCRYPTION_KEY
	Key2   = "2b7e90c4f1a35d688e0379da52bc46f0197af3c86de4105b92c738ed64af0b51" // for ENCRYPTION_KEY
	Secret = "7Jq2vXk9TzR4mWc8LpY6nBd3HsGf5Ae1"                                 // for SESSION_SECRET
)
