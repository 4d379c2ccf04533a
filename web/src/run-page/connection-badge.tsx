import type { Connection } from '../run/run-store.ts'
import { formatCount } from '../ui/format.ts'
import classes from './connection-badge.module.css'

type Props = {
  readonly connection: Connection
  /** seq of the last record that has arrived; -1 for none. */
  readonly received: number
  /** seq of the last record that the server was known to have; null while that is not known. */
  readonly head: number | null
}

/** The connection of the page to the server. */
export function ConnectionBadge({ connection, received, head }: Props) {
  const { tone, text } = standing(connection, received, head)
  return (
    <span className={classes.badge} data-tone={tone} role="status" data-testid="connection">
      <span className={classes.dot} aria-hidden />
      {text}
    </span>
  )
}

function standing(connection: Connection, received: number, head: number | null) {
  switch (connection.type) {
    case 'connecting':
      return { tone: 'quiet', text: 'Connecting' }
    case 'open':
      return head !== null && received < head
        ? { tone: 'busy', text: `Reading ${formatCount(received + 1)} of ${formatCount(head + 1)}` }
        : { tone: 'live', text: 'Live' }
    case 'lost':
      return {
        tone: 'lost',
        text: `Connection lost at record ${formatCount(received)}, trying again`,
      }
    case 'complete':
      return { tone: 'quiet', text: 'All records received' }
    case 'refused':
      return { tone: 'lost', text: connection.message }
  }
}
