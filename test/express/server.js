// A server that signs people in as the Node server and its kind did, with the real express-session and connect-pg-simple.
// Its environment: PGHOST and so on, PORT (0: any), SECRETS (the first signs), ROLLING, MAX_AGE (milliseconds; 0: until the
// browser is closed), USER_AT (userId, user.id, user or passport.user), AS_TEXT (ids as strings), TZ (of PostgreSQL, too).
'use strict'
const http = require('node:http')
const session = require('express-session')
const Store = require('connect-pg-simple')(session)
const { Pool } = require('pg')

const env = process.env
const pool = new Pool({ max: 4, options: '-c TimeZone=' + env.TZ })
pool.on('error', () => {}) // a connection that breaks while it is idle
const sessions = session({
  store: new Store({ pool, schemaName: 'public', createTableIfMissing: true, pruneSessionInterval: false }),
  secret: env.SECRETS.split(','),
  resave: false,
  saveUninitialized: false,
  rolling: env.ROLLING === 'on',
  cookie: { maxAge: Number(env.MAX_AGE) || null, httpOnly: true, sameSite: 'lax' }
})

const places = {
  userId: { get: s => s.userId, set: (s, id) => { s.userId = id } },
  'user.id': { get: s => s.user && s.user.id, set: (s, id) => { s.user = { id, name: 'Ada' } } },
  user: { get: s => s.user, set: (s, id) => { s.user = id } },
  'passport.user': { get: s => s.passport && s.passport.user, set: (s, id) => { s.passport = { user: id } } }
}
const place = places[env.USER_AT || 'userId']

function answer (res, status, body) {
  res.writeHead(status, { 'Content-Type': 'application/json' })
  res.end(JSON.stringify(body))
}

const held = [] // answers that wait for /release
const server = http.createServer((req, res) => {
  const url = new URL(req.url, 'http://localhost')
  if (['/health', '/readyz'].includes(url.pathname)) return answer(res, 200, { status: 'ok' })
  if (url.pathname === '/held') return answer(res, 200, { held: held.length })
  if (url.pathname === '/release') return answer(res, 200, { released: held.splice(0).map(done => done()).length })
  sessions(req, res, err => {
    if (err) return answer(res, 500, { error: 'session' })
    const done = failed => {
      if (failed) console.error(failed.message)
      answer(res, failed ? 500 : 200, { ok: !failed })
    }
    switch (url.pathname) {
      case '/signin':
        return req.session.regenerate(failed => {
          if (failed) return done(failed)
          const id = url.searchParams.get('user')
          place.set(req.session, env.AS_TEXT ? id : Number(id))
          req.session.save(done)
        })
      case '/signout':
        return req.session.destroy(done)
      case '/write': // as pages do that keep something in the session
        req.session.writes = (req.session.writes || 0) + 1
        return url.searchParams.has('later') ? held.push(done) : done()
      default: {
        const user = place.get(req.session)
        return user ? answer(res, 200, { user: Number(user) }) : answer(res, 401, { error: 'Authentication required' })
      }
    }
  })
})
server.keepAliveTimeout = 600000 // a proxy may use a spare connection just when it is closed
server.listen(Number(env.PORT || 0), '127.0.0.1', () => console.log('port ' + server.address().port))
process.on('SIGTERM', () => server.close(() => pool.end()))
