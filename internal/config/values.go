package config

import (
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// logLevel reads the lowest level that is logged.
func (c *reader) logLevel() slog.Level {
	value := c.value("LOG_LEVEL")
	levels := map[string]slog.Level{
		"": slog.LevelInfo, "debug": slog.LevelDebug, "info": slog.LevelInfo,
		"warn": slog.LevelWarn, "error": slog.LevelError,
	}
	level, ok := levels[strings.ToLower(value)]
	if !ok {
		c.problem("LOG_LEVEL is none of debug, info, warn and error")
	}
	return level
}

func (c *reader) databaseURL(name string) string {
	value := c.value(name)
	if _, err := pgxpool.ParseConfig(value); value != "" && err != nil {
		c.problem("%s is not an address like postgres://user:password@host:5432/database", name)
	}
	return value
}

// directDatabaseURL reads the address that bypasses the connection pooler.
func (c *reader) directDatabaseURL() string {
	value := c.databaseURL("DIRECT_DATABASE_URL")
	if value != "" && c.value("DATABASE_URL") == "" {
		c.problem("DIRECT_DATABASE_URL bypasses the connection pooler in DATABASE_URL, which is not set")
	}
	return value
}

// stopTimes reads how long stopping takes. The delay is for balancers, so development has none by default.
func (c *reader) stopTimes(config Config) StopTimes {
	var delay time.Duration
	if config.Production {
		delay = 5 * time.Second
	}
	return StopTimes{
		Delay:   c.duration("SHUTDOWN_DELAY", 0, delay),
		Timeout: c.duration("SHUTDOWN_TIMEOUT", time.Second, 35*time.Second),
	}
}

// duration reads a duration in Go's notation, or in days, like "30d".
func (c *reader) duration(name string, least, fallback time.Duration) time.Duration {
	value := c.value(name)
	if value == "" {
		return fallback
	}
	d, err := time.ParseDuration(value)
	if days, isDays := strings.CutSuffix(value, "d"); isDays {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 12)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < least {
		c.problem("%s is not a time of %v or more, like 30d, 12h or 90s", name, least)
	}
	return d
}
