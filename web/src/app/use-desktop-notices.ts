import { useEffect, useRef } from 'react'
import { useLocation } from 'wouter'
import type { RunSummary } from '../../../src/client/index.ts'
import { useDue } from '../api/use-due.ts'
import { visible } from '../ui/foreign-text.ts'
import { baseName } from '../ui/format.ts'

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
    // What was due when the page was opened is no news.
    if (before === null || Notification.permission !== 'granted' || document.hasFocus()) return
    for (const run of due) {
      if (before.has(questionOf(run))) continue
      const where = run.cwd === undefined ? '' : ` in ${baseName(run.cwd)}`
      const body = `${visible(run.title ?? run.goal)}${where}`
      const notice = shownNotice('A run waits for you', { body, tag: run.run_id })
      if (notice === null) return
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

/** Browsers of phones have the class and refuse to make one. */
function shownNotice(title: string, options: NotificationOptions): Notification | null {
  try {
    return new Notification(title, options)
  } catch {
    return null
  }
}
