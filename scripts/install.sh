#!/bin/sh
# Installs PostgreSQL's server programs, Chromium, PgBouncer, promtool, axe-core, express-session or systemd-analyze where
# they are missing, by apt, Homebrew or npm, and says so first.
#
#   sh scripts/install.sh postgres|chromium|pgbouncer|promtool|axe|express|systemd
set -eu

have_postgres() {
	[ -n "${TEST_DATABASE_URL:-}${DATABASE_URL:-}" ] && return 0
	for dir in $(printf '%s' "$PATH" | tr ' :' '? ') /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
		/opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin /home/linuxbrew/.linuxbrew/opt/postgresql*/bin; do
		[ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] && return 0
	done
	return 1
}

have_chromium() {
	for name in chromium-headless-shell chromium chromium-browser google-chrome google-chrome-stable; do
		command -v "$name" >/dev/null 2>&1 && return 0
	done
	[ -x '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome' ] || [ -x '/Applications/Chromium.app/Contents/MacOS/Chromium' ]
}

have_pgbouncer() {
	command -v pgbouncer >/dev/null 2>&1 && return 0
	for program in /usr/sbin/pgbouncer /opt/homebrew/opt/pgbouncer/bin/pgbouncer /usr/local/opt/pgbouncer/bin/pgbouncer; do
		[ -x "$program" ] && return 0
	done
	return 1
}

bin=$(dirname "$0")/../bin

have_promtool() {
	command -v promtool >/dev/null 2>&1 || [ -x "$bin/promtool" ]
}

# axe-core checks pages for accessibility, in the browser tests. express-session plays the Node server.
axe=$(dirname "$0")/../cmd/server/testdata/axe
express=$(dirname "$0")/../test/express

# have_npm DIRECTORY PACKAGE: the version that package.json names is there
have_npm() {
	version=$(sed -n "s/.*\"$2\": \"\(.*\)\".*/\1/p" "$1/package.json")
	[ -f "$1/node_modules/$2/package.json" ] && grep -q "\"version\": \"$version\"" "$1/node_modules/$2/package.json"
}

# npm_install DIRECTORY PACKAGE
npm_install() {
	have_npm "$1" "$2" && return 0
	if ! command -v npm >/dev/null 2>&1; then
		if command -v apt-get >/dev/null 2>&1; then
			apt_install npm npm
		elif command -v brew >/dev/null 2>&1; then
			echo 'cairn: npm is missing; installing it with Homebrew.'
			brew install node
		else
			echo "cairn: npm is missing, and the tests need it for $2. Install it with your system's packages." >&2
			exit 1
		fi
	fi
	echo "cairn: $2 is missing; installing it with npm."
	npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo "$@"
	else
		echo "cairn: that needs root: please run: $*" >&2
		exit 1
	fi
}

# apt_install NAME PACKAGE...: the first package that this system has
apt_install() {
	echo "cairn: $1 is missing; installing it with apt-get."
	shift
	as_root apt-get update -qq
	for package in "$@"; do
		apt-cache show "$package" >/dev/null 2>&1 && break
	done
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null
}

# download_prometheus DIRECTORY
download_prometheus() {
	(cd "$1" && apt-get download -qq prometheus >/dev/null 2>&1)
}

case "${1:-}" in
postgres)
	have_postgres && exit 0
	if command -v apt-get >/dev/null 2>&1; then
		# Debian's package would start a server of its own; Cairn needs the programs only.
		[ -e /etc/postgresql-common/createcluster.conf ] || {
			as_root mkdir -p /etc/postgresql-common
			echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
		}
		apt_install PostgreSQL postgresql
	elif command -v brew >/dev/null 2>&1; then
		echo 'cairn: PostgreSQL is missing; installing it with Homebrew.'
		brew install postgresql@17
	else
		echo 'cairn: PostgreSQL is missing. Install it with your system'\''s packages, or set DATABASE_URL, or use: docker compose up' >&2
		exit 1
	fi
	;;
chromium)
	command -v chromium-headless-shell >/dev/null 2>&1 && exit 0
	# A whole Chromium takes twice as long as the shell. It will do where the shell can't be installed at once.
	if have_chromium && { [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; }; then exit 0; fi
	if command -v apt-get >/dev/null 2>&1; then
		apt_install "Chromium's headless shell" chromium-headless-shell chromium || have_chromium
	elif command -v brew >/dev/null 2>&1; then
		echo 'cairn: Chromium is missing; installing it with Homebrew.'
		brew install --cask chromium
	else
		echo 'cairn: Chromium is missing, and the browser tests need it. Install it with your system'\''s packages.' >&2
		exit 1
	fi
	;;
pgbouncer)
	have_pgbouncer && exit 0
	if command -v apt-get >/dev/null 2>&1; then
		apt_install PgBouncer pgbouncer
		# Debian's package starts a pooler of its own; the tests start theirs.
		if [ -d /run/systemd/system ]; then as_root systemctl disable --quiet --now pgbouncer.service; fi
	elif command -v brew >/dev/null 2>&1; then
		echo 'cairn: PgBouncer is missing; installing it with Homebrew.'
		brew install pgbouncer
	else
		echo 'cairn: PgBouncer is missing, and the tests need it. Install it with your system'\''s packages.' >&2
		exit 1
	fi
	;;
promtool)
	have_promtool && exit 0
	if command -v apt-get >/dev/null 2>&1; then
		# Debian's package would start a Prometheus, and is large; Cairn needs one program of it.
		echo 'cairn: promtool is missing; taking it out of the package prometheus into bin/.'
		at=$(mktemp -d)
		trap 'rm -rf "$at"' EXIT
		chmod 755 "$at"
		# Downloading needs no root, unless apt's lists are missing or old.
		download_prometheus "$at" || { as_root apt-get update -qq && download_prometheus "$at"; }
		(cd "$at" && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool)
		mkdir -p "$bin" && mv "$at/usr/bin/promtool" "$bin/promtool"
	elif command -v brew >/dev/null 2>&1; then
		echo 'cairn: promtool is missing; installing Prometheus with Homebrew.'
		brew install prometheus
	else
		echo 'cairn: promtool is missing, and the tests of the alert rules need it. Install Prometheus with your system'\''s packages.' >&2
		exit 1
	fi
	;;
axe)
	npm_install "$axe" axe-core
	;;
express)
	npm_install "$express" express-session
	;;
systemd)
	# Only to check the units, where units can be; nothing of it runs.
	command -v systemd-analyze >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1 || apt_install systemd-analyze systemd
	;;
*)
	echo 'usage: sh scripts/install.sh postgres|chromium|pgbouncer|promtool|axe|express|systemd' >&2
	exit 2
	;;
esac
