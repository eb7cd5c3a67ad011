package config

import "testing"

func TestMisspeltVariables(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"TRUSTED_PROXYS": "TRUSTED_PROXIES", "STRAVA_CLIENT_SECERT": "STRAVA_CLIENT_SECRET", "PUBLIC_URI": "PUBLIC_URL",
		"strava_client_id": "STRAVA_CLIENT_ID",
		"DATABSE_URL":      "DATABASE_URL", "ENCRIPTION_KEYS": "ENCRYPTION_KEY", "SESION_LIFETIME": "SESSION_LIFETIME",
		"GARMIN_WEBHOOK": "ours", "PORT_FILE": "", "NOTICE_FROM_FILE": "ours", // no secret
		"PATH": "", "HOME": "", "PWD": "", "TERM": "", "USER": "", "SHELL": "", "SESSION_MANAGER": "",
		"NODE_SESSION_UNTIL": "NODE_SESSIONS_UNTIL", "NODE_LINK_UNTIL": "NODE_LINKS_UNTIL",
		"FRONTEND_URI": "FRONTEND_URL",
		"LISTEN_FDS":   "", "LISTEN_PID": "", "GOGC": "", "TEST_DATABASE_URL": "", "NODE_SESSION_SECRET_FILE": "",
		"NODE_OPTIONS": "", "NODE_PATH": "", "NODE_VERSION": "", "NODE_EXTRA_CA_CERTS": "", // Node's own
		"CREDENTIALS_DIRECTORY": "", "PGDATA": "", "XDG_SESSION_ID": "", "DBUS_SESSION_BUS_ADDRESS": "",
	} {
		meant, suspect := Misspelt(name)
		if ok := suspect == (want != "") && (want == "ours" || meant == want); !ok {
			t.Errorf("%s: %q, %v; want %q", name, meant, suspect, want)
		}
	}
	for _, v := range variables(Providers()) {
		for _, name := range v.names() {
			if _, suspect := Misspelt(name); suspect {
				t.Errorf("%s counts as misspelt", name)
			}
			if _, suspect := Misspelt(name + "_FILE"); v.secret && suspect {
				t.Errorf("%s_FILE counts as misspelt", name)
			}
		}
	}
}
