package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"cairn/internal/testkit"
)

// The main path in a real browser. Only a browser applies SameSite to the providers' cross-site redirects, and the
// Content-Security-Policy with its form-action.
func TestMainPathInChromium(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	env := []string{"DATA_DIR=" + testkit.DataDir(t), "PORT=" + testkit.FreePort(t)}
	server := startProcess(t, env...)
	b := newChromium(t)

	b.run("open the site", chromedp.Navigate(server.URL+"/"), visible(`a[href="/signup"]`))
	b.wantTrue("the example shows its route",
		`document.querySelector(".shown .land").getBoundingClientRect().height === 180`)
	b.capture("landing")
	b.run("go to sign-up", click(`main a[href="/signup"]`), visible(`#email`))
	b.capture("signup")
	b.run("choose a common password", chromedp.SendKeys(`#name`, "Ada Lovelace"),
		chromedp.SendKeys(`#email`, "ada@example.org"),
		chromedp.SendKeys(`#password`, "password1234"), click(`form[action="/signup"] button`),
		visible(`#password-error`))
	b.capture("signup-error")
	b.run("choose a better one", chromedp.SendKeys(`#password`, testkit.Password),
		click(`form[action="/signup"] button`), visible(`main a[href$="/sandbox/mail"]`))
	b.capture("mailed")
	b.confirmSignUp()
	b.capture("home-empty")

	for _, provider := range []string{"garmin", "foursquare", "strava"} {
		b.run("connect "+provider, chromedp.Navigate(server.URL+"/connections"),
			click(`#card-`+provider+` form[action="/connect/`+provider+`"] button`),
			visible(`input[name=person]`))
		b.capture("consent-" + provider)
		b.run("allow "+provider, click(`input[name=person][value=ada]`), click(`button[value=allow]`),
			visible(`#card-`+provider+`[data-state=active]`))
	}
	b.run("go home", chromedp.Navigate(server.URL+"/"))
	for _, provider := range []string{"foursquare", "strava"} { // the page looks until they are there
		b.run("see what is new at "+provider, visible(`[data-from~=`+provider+`]`))
	}
	b.run("see that all has come", gone(`.fetching`))
	b.capture("home")
	b.wantURL(server.URL + "/")

	if code := server.End(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	server = startProcess(t, env...)
	b.run("come back after a deploy", chromedp.Navigate(server.URL+"/connections"),
		visible(`#card-strava[data-state=active]`))
	server.End(syscall.SIGKILL)
	server = startProcess(t, env...)
	b.run("come back after a crash", chromedp.Navigate(server.URL+"/account"),
		visible(`form[action="/account/password"]`))
	other := testkit.NewBrowser(t)
	other.SignIn(server.URL, "ada@example.org")
	b.run("see the other device", chromedp.Reload(), visible(`#sessions a[href$="/end"]`))
	b.capture("account")
	b.run("be asked", click(`#sessions a[href$="/end"]`), visible(`form[action$="/end"] button`))
	b.capture("end-session")
	b.run("end it", click(`form[action$="/end"] button`), visible(`#sessions #notice`))
	b.wantInView("#notice")
	b.capture("account-session-ended")
	other.SignIn(server.URL, "ada@example.org")

	b.run("be asked", chromedp.Navigate(server.URL+"/connections"),
		click(`a[href="/connections/strava/disconnect"]`),
		visible(`form[action="/connections/strava/disconnect"] button`))
	b.capture("disconnect")
	b.run("disconnect", click(`form[action="/connections/strava/disconnect"] button`),
		visible(`#card-strava form.connect`))
	b.wantInView("#notice")
	b.capture("connections-disconnected")
	b.run("untick a scope", click(`form[action="/connect/strava"] button`),
		visible(`input[name=scope]`),
		click(`input[name=scope][value="activity:read_all"]`), click(`button[value=allow]`),
		visible(`#card-strava[data-state=limited]`))
	b.capture("connections-limited")
	b.run("take Garmin back there",
		chromedp.Navigate(strings.Replace(server.URL, "localhost", "127.0.0.1", 1)+"/sandbox/"),
		click(`#garmin form[action$="/revoke"] button`), gone(`#garmin form[action$="/revoke"]`))
	b.capture("sandbox")
	testkit.Eventually(t, "the webhook has arrived", func() bool {
		_, page := other.Send(http.MethodGet, server.URL+"/connections", nil)
		return page.Find("#card-garmin[data-state=needs_reconnect]").Length() == 1
	})
	b.run("see it", chromedp.Navigate(server.URL+"/connections"),
		visible(`#card-garmin[data-state=needs_reconnect]`),
		click(`#card-garmin summary`), visible(`#card-garmin .events li`))
	b.capture("connections-reconnect")

	b.run("sign out", chromedp.Navigate(server.URL+"/account"),
		click(`form[action="/logout"] button`), visible(`#notice`),
		visible(`main a[href="/signup"]`))
	b.run("find the door closed",
		chromedp.Navigate(server.URL+"/account"),
		visible(`form[action="/login"]`))
	b.capture("login")
	b.run("sign in with Strava", click(`form[action="/login/strava"] button`),
		visible(`input[name=person]`),
		click(`input[name=person][value=ada]`), click(`button[value=allow]`),
		visible(`form[action="/account/password"]`))
	b.run("get lost", chromedp.Navigate(server.URL+"/nowhere"), visible(`#reference`))
	b.capture("error")
	b.run("come back too late", chromedp.Navigate(server.URL+"/api/strava/auth/callback?state=x&code=y"),
		visible(`#notice.bad`))
	b.wantURL(server.URL + "/")
	b.capture("home-expired")
	b.run("want to go", chromedp.Navigate(server.URL+"/account/delete"),
		visible(`form[action="/account/delete"]`))
	b.capture("delete")
	b.run("go",
		click(`form[action="/account/delete"] button`),
		visible(`main a.button[href="/"]`))
	b.capture("deleted")
	b.wantNoComplaints()
}

// pollEvery is how often we look for an element. chromedp's default of 5 ms takes a third of the browser's time.
const pollEvery = 40 * time.Millisecond

// visible waits until an element exists and can be seen. chromedp would also search texts and attributes for a selector
// that is a plain string.
func visible(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.WaitVisible(chromedp.CSS(selector), chromedp.RetryInterval(pollEvery))
}

// gone waits until an element no longer exists.
func gone(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.WaitNotPresent(chromedp.CSS(selector), chromedp.RetryInterval(pollEvery))
}

// click waits for an element and clicks on it.
func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(selector), chromedp.RetryInterval(pollEvery))
}

type chromium struct {
	t    *testing.T
	ctx  context.Context
	said *complaints
}

// oneRenderer makes a browser use one process with few threads for all pages. Test pages need no isolation, and a
// process for each page costs a third of the time. They are gone before optimizing their scripts pays.
var oneRenderer = []chromedp.ExecAllocatorOption{
	chromedp.Flag("js-flags", "--no-opt --single-threaded"),
	chromedp.Flag("renderer-process-limit", "1"),
	chromedp.Flag("num-raster-threads", "1"),
	chromedp.Flag("disable-site-isolation-trials", true),
	chromedp.Flag("disable-features",
		"Translate,BackForwardCache,SpareRendererForSitePerProcess,IsolateOrigins,site-per-process"),
}

// newChromium starts a browser without a profile, which loads nothing but the pages it is sent to.
func newChromium(t *testing.T) chromium {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium-headless-shell",
		"chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
		"/Applications/Chromium.app/Contents/MacOS/Chromium"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("the browser tests need Chromium: make test installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.WindowSize(1280, 900), chromedp.WSURLReadTimeout(testkit.Patience),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	options = append(options, oneRenderer...)
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	b := chromium{t: t, ctx: ctx, said: &complaints{}}
	b.listen()
	return b
}

func (b chromium) run(step string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.EmulateViewport(1280, 900)); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, testkit.Patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		where, _ := chromedp.Run(b.ctx, chromedp.Location())
		text, _ := chromedp.Run(b.ctx, chromedp.Text("body"))
		b.t.Fatalf("%s: %v; the browser is at %s:\n%s", step, err, where, text)
	}
}

func (b chromium) wantURL(want string) {
	b.t.Helper()
	if got, err := chromedp.Run(b.ctx, chromedp.Location()); err != nil || got != want {
		b.t.Errorf("the browser is at %s (error %v), want %s", got, err, want)
	}
}

// capture takes pictures of the page, on a phone and a desktop, light and dark, if SCREENSHOTS names a directory (make
// screenshots).
func (b chromium) capture(name string) {
	b.t.Helper()
	b.wantFits(name)
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	for _, width := range []int64{390, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			if err == nil {
				err = chromedp.Do(b.ctx, chromedp.EmulateViewport(width, 844))
			}
			testkit.Eventually(b.t, "all transitions are over", func() bool {
				still, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](
					`document.getAnimations().every(a => a.playState !== 'running')`))
				return err == nil && still
			})
			var picture []byte
			if err == nil {
				picture, err = chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), picture, 0o644)
			}
			if err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

// wantFits checks that the page does not scroll sideways, even on the narrowest phones.
func (b chromium) wantFits(name string) {
	b.t.Helper()
	for _, width := range []int64{320, 390, 1280} {
		err := chromedp.Do(b.ctx, chromedp.EmulateViewport(width, 844))
		wide, evalErr := chromedp.Run(b.ctx, chromedp.Evaluate[int64](`document.documentElement.scrollWidth`))
		if err = errors.Join(err, evalErr); err != nil || wide > width {
			b.t.Errorf("%s is %d pixels wide on a screen of %d (error %v)", name, wide, width, err)
		}
	}
}

// wantInView checks that an element is within the window, on a desktop and a phone, where the browser has scrolled by
// itself.
func (b chromium) wantInView(selector string) {
	b.t.Helper()
	inView := fmt.Sprintf(`(() => { const box = document.querySelector(%q).getBoundingClientRect();
		return box.top >= 0 && box.bottom <= innerHeight; })()`, selector)
	for _, width := range []int64{390, 1280} {
		where, err := chromedp.Run(b.ctx, chromedp.Location())
		if err == nil { // the fragment again, on a page of another width
			_, err = chromedp.Run(b.ctx, chromedp.Evaluate[bool](`scrollTo(0, 0); true`))
			err = errors.Join(err, chromedp.Do(b.ctx, chromedp.EmulateViewport(width, 844)))
			if _, fragment, ok := strings.Cut(where, "#"); ok {
				scroll := fmt.Sprintf(`document.getElementById(%q).scrollIntoView(); true`, fragment)
				_, more := chromedp.Run(b.ctx, chromedp.Evaluate[bool](scroll))
				err = errors.Join(err, more)
			}
		}
		seen, evalErr := chromedp.Run(b.ctx, chromedp.Evaluate[bool](inView))
		if err = errors.Join(err, evalErr); err != nil || !seen {
			b.t.Errorf("%s is out of sight at %s, %d pixels wide (error %v)", selector, where, width, err)
		}
	}
}
