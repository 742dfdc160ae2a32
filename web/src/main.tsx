/** The dashboard: the frame around the pages, and which page stands at which address. */
import { render } from 'preact'
import { useEffect } from 'preact/hooks'
import { call, me, whoAmI } from './api.ts'
import icon from './icon.svg'
import { connection, listen, overview } from './live.ts'
import { Alerts } from './pages/alerts.tsx'
import { Audit } from './pages/audit.tsx'
import { BrokerPage } from './pages/broker.tsx'
import { DeadLetters } from './pages/dead-letters.tsx'
import { Login } from './pages/login.tsx'
import { OverviewPage } from './pages/overview.tsx'
import { Pipelines } from './pages/pipelines.tsx'
import { QueuePage, Queues } from './pages/queues.tsx'
import { Schedules } from './pages/schedules.tsx'
import { SosPage } from './pages/sos.tsx'
import { TaskPage } from './pages/task.tsx'
import { Tasks } from './pages/tasks.tsx'
import { WorkerPage, Workers } from './pages/workers.tsx'
import { followLinks, go, path } from './router.ts'
import { switchTheme, theme } from './theme.ts'
import { Page, Sayings } from './ui/basics.tsx'
import { Dialog } from './ui/dialog.tsx'
import './style.css'

const places = [
  ['/', 'Overview', OverviewPage],
  ['/sos', 'SOS', SosPage],
  ['/pipelines', 'Pipelines', Pipelines],
  ['/tasks', 'Tasks', Tasks],
  ['/queues', 'Queues', Queues],
  ['/workers', 'Workers', Workers],
  ['/schedules', 'Schedules', Schedules],
  ['/dead-letters', 'Dead letters', DeadLetters],
  ['/alerts', 'Alerts', Alerts],
  ['/broker', 'Broker', BrokerPage],
  ['/audit', 'Audit', Audit],
] as const

/** Of one thing each, under the place of its list. */
const things = { '/tasks': TaskPage, '/queues': QueuePage, '/workers': WorkerPage } as const

function Content() {
  const at = path.value
  const place = places.find(([href]) => href === at)
  if (place !== undefined) {
    const Found = place[2]
    return <Found />
  }
  const slash = at.lastIndexOf('/')
  const parent = at.slice(0, slash)
  if (Object.hasOwn(things, parent)) {
    const Thing = things[parent as keyof typeof things]
    const name = decodeURIComponent(at.slice(slash + 1))
    return <Thing key={name} name={name} />
  }
  return (
    <Page title="Not found">
      <p>
        There is no page {at}. <a href="/">To the overview</a>
      </p>
    </Page>
  )
}

function Shell() {
  const at = path.value
  useEffect(() => {
    void whoAmI().then(listen, () => undefined)
  }, [])
  if (at === '/login') return <Login />
  const isHere = (href: string): boolean => at === href || (href !== '/' && at.startsWith(`${href}/`))
  return (
    <div class="shell">
      <a class="skip" href="#main">
        To the content
      </a>
      <header class="side">
        <a class="brand" href="/">
          <img src={icon} alt="" />
          Celeriac
        </a>
        <nav aria-label="Pages">
          <ul>
            {places.map(([href, title]) => (
              <li key={href}>
                <a href={href} aria-current={isHere(href) ? 'page' : undefined}>
                  {title}
                  {href === '/dead-letters' && (overview.value?.deadLetters ?? 0) > 0 && (
                    <span class="badge bad">{overview.value?.deadLetters}</span>
                  )}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <div class="foot">
          <span role="status">
            <span class={`dot ${connection.value}`} />
            {{ open: 'live', lost: 'not connected', connecting: 'connecting' }[connection.value]}
          </span>
          <Who />
          <button type="button" onClick={switchTheme}>
            {theme.value === 'dark' ? 'Light' : 'Dark'}
          </button>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        <Content />
      </main>
      <Dialog />
      <Sayings />
    </div>
  )
}

function Who() {
  const own = me.value
  if (own === undefined) return null
  const leave = async (): Promise<void> => {
    await call('POST', '/logout')
    go('/login')
  }
  return (
    <>
      {own.readOnly && <span>read-only</span>}
      {own.canLogOut && (
        <>
          <span>
            {own.name}, {own.role}
          </span>
          <button type="button" onClick={() => void leave()}>
            Log out
          </button>
        </>
      )}
    </>
  )
}

followLinks()
render(<Shell />, document.getElementById('app') as HTMLElement)
