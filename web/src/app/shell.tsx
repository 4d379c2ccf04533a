import { Kbd, Modal } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { useLocation } from 'wouter'
import { goalsQuery } from '../api/queries.ts'
import { useMayNot } from '../api/use-may.ts'
import { StartForm } from '../start/start-form.tsx'
import { useShortcuts } from '../ui/use-shortcuts.ts'
import classes from './shell.module.css'
import { TopBar } from './top-bar.tsx'
import { useColorScheme } from './use-color-scheme.ts'

/** What is around every page: the bar at the top, the form that starts a run, the list of shortcuts. */
export function Shell({ children }: { readonly children: ReactNode }) {
  const [starting, start] = useDisclosure(false)
  const [helping, help] = useDisclosure(false)
  const [, navigate] = useLocation()
  const { toggle } = useColorScheme()
  const mayNot = useMayNot('runs:create')
  // The form needs them as soon as it opens.
  useQuery(goalsQuery)
  useShortcuts([
    ['n', () => mayNot === null && start.open()],
    ['shift+?', help.open],
    ['t', toggle],
    ['g', () => navigate('/')],
  ])
  return (
    <div className={classes.shell}>
      <a className={classes.skip} href="#content">
        Skip to content
      </a>
      <TopBar onStart={start.open} onHelp={help.open} />
      <main id="content" className={classes.content} tabIndex={-1}>
        {children}
      </main>
      {starting && <StartForm onClose={start.close} />}
      <Shortcuts opened={helping} onClose={help.close} />
    </div>
  )
}

const SHORTCUTS: readonly (readonly [string, readonly (readonly [readonly string[], string])[]])[] =
  [
    [
      'Everywhere',
      [
        [['n'], 'Start a run'],
        [['g'], 'All runs'],
        [['/'], 'Search'],
        [['t'], 'Light or dark'],
        [['?'], 'Show this list'],
      ],
    ],
    [
      'On a run',
      [
        [['Space'], 'Play or pause the replay'],
        [['j', 'k'], 'Next, previous record'],
        [[']', '['], 'Next, previous iteration'],
        [['Home', 'End'], 'First record, back to live'],
        [['d'], 'Go to the open decision'],
        [['c'], 'Copy a link to this moment'],
      ],
    ],
  ]

type Props = { readonly opened: boolean; readonly onClose: () => void }

function Shortcuts({ opened, onClose }: Props) {
  return (
    <Modal opened={opened} onClose={onClose} title="Keyboard shortcuts" size="lg">
      <div className={classes.groups}>
        {SHORTCUTS.map(([title, shortcuts]) => (
          <section key={title}>
            <h3 className={classes.title}>{title}</h3>
            <dl className={classes.list}>
              {shortcuts.map(([keys, what]) => (
                <div key={what} className={classes.row}>
                  <dt>{what}</dt>
                  <dd>
                    {keys.map((key) => (
                      <Kbd key={key}>{key}</Kbd>
                    ))}
                  </dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Modal>
  )
}
