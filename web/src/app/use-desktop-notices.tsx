import { Button, Group } from '@mantine/core'
import { useEffect, useRef } from 'react'
import { useLocation } from 'wouter'
import type { RunSummary } from '../../../src/client/index.ts'
import { useDue } from '../api/use-due.ts'
import { visible } from '../ui/foreign-text.ts'
import { baseName } from '../ui/format.ts'

const ASKED = 'retrai.notices-asked'

/** Shows a notice of the desktop when a decision becomes due while the person looks at something else. */
export function useDesktopNotices(): void {
  const due = useDue()
  const known = useRef<ReadonlySet<string> | null>(null)
  const [, navigate] = useLocation()
  useEffect(() => {
    // Browsers have them only with TLS, or on this machine.
    if (!('Notification' in window)) return
    const before = known.current
    known.current = new Set(due.map(questionOf))
    if (due.length > 0 && Notification.permission === 'default') void askOnce()
    // What was due when the page was opened is no news.
    if (before === null || Notification.permission !== 'granted' || document.hasFocus()) return
    for (const run of due) {
      if (before.has(questionOf(run))) continue
      const where = run.cwd === undefined ? '' : ` in ${baseName(run.cwd)}`
      const body = `${visible(run.title ?? run.goal)}${where}`
      const notice = new Notification('A run waits for you', { body, tag: run.run_id })
      notice.onclick = () => {
        window.focus()
        navigate(`/runs/${run.run_id}`)
        notice.close()
      }
    }
  }, [due, navigate])
}

const questionOf = ({ run_id, status, iteration }: RunSummary): string =>
  `${run_id} ${status} ${iteration}`

/** Browsers let a page ask only after a click, so the page asks first. It does so once in this browser. */
async function askOnce(): Promise<void> {
  if (localStorage.getItem(ASKED) !== null) return
  localStorage.setItem(ASKED, 'yes')
  const { notifications } = await import('@mantine/notifications')
  const answer = (wanted: boolean) => () => {
    notifications.hide(ASKED)
    if (wanted) void Notification.requestPermission()
  }
  notifications.show({
    id: ASKED,
    title: 'Show a notice of the desktop when a run waits for you?',
    message: (
      <Group gap="xs" mt="xs">
        <Button size="xs" onClick={answer(true)}>
          Yes
        </Button>
        <Button size="xs" variant="default" onClick={answer(false)}>
          No
        </Button>
      </Group>
    ),
    autoClose: false,
  })
}
