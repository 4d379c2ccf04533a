import { Button } from '@mantine/core'
import { useState } from 'react'
import { useDue } from '../api/use-due.ts'
import classes from './runs-page.module.css'

const ANSWERED = 'retrai.notices-asked'

/**
 * Browsers let a page ask only after a click, so the page asks first: once in this browser, while a decision is due, and
 * as a part of the page, where it covers nothing.
 */
export function NoticesQuestion() {
  const [isAnswered, setAnswered] = useState(() => localStorage.getItem(ANSWERED) !== null)
  const isDue = useDue().length > 0
  // Browsers have them only with TLS, or on this machine.
  const mayAsk = 'Notification' in window && Notification.permission === 'default'
  if (isAnswered || !isDue || !mayAsk) return null
  const answer = (isWanted: boolean) => () => {
    localStorage.setItem(ANSWERED, 'yes')
    setAnswered(true)
    if (isWanted) void Notification.requestPermission()
  }
  return (
    <section className={classes.question} aria-label="Notices of the desktop">
      Show a notice of the desktop when a run waits for you?
      <Button size="compact-xs" variant="default" onClick={answer(true)}>
        Yes
      </Button>
      <Button size="compact-xs" variant="default" onClick={answer(false)}>
        No
      </Button>
    </section>
  )
}
