import { useDisclosure } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { lazy, type ReactNode, Suspense } from 'react'
import { useLocation } from 'wouter'
import { goalsQuery } from '../api/queries.ts'
import { useMayNot } from '../api/use-may.ts'
import { SkipLink } from '../ui/skip-link.tsx'
import { useShortcuts } from '../ui/use-shortcuts.ts'
import classes from './shell.module.css'
import { TopBar } from './top-bar.tsx'
import { useColorScheme } from './use-color-scheme.ts'
import { useDesktopNotices } from './use-desktop-notices.ts'

const Shortcuts = lazy(() => import('./shortcuts.tsx'))
const StartForm = lazy(() => import('../start/start-form.tsx'))

/** What is around every page: the bar at the top, the form that starts a run, the list of shortcuts. */
export function Shell({ children }: { readonly children: ReactNode }) {
  const [starting, start] = useDisclosure(false)
  const [helping, help] = useDisclosure(false)
  const [, navigate] = useLocation()
  const { toggle } = useColorScheme()
  const mayNot = useMayNot('runs:create')
  useDesktopNotices()
  // The form needs them as soon as it opens.
  useQuery(goalsQuery)
  useShortcuts([
    ['n', () => mayNot === null && start.open()],
    ['?', help.open],
    ['t', toggle],
    ['g', () => navigate('/')],
  ])
  return (
    <div className={classes.shell}>
      <SkipLink to="content">Skip to content</SkipLink>
      <TopBar onStart={start.open} onHelp={help.open} />
      <main id="content" className={classes.content} tabIndex={-1}>
        {children}
      </main>
      <Suspense>
        {starting && <StartForm onClose={start.close} />}
        {helping && <Shortcuts onClose={help.close} />}
      </Suspense>
    </div>
  )
}
