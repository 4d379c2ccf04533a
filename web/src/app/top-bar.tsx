import { ActionIcon, Button, Tooltip } from '@mantine/core'
import {
  IconHandStop,
  IconKeyboard,
  IconMoon,
  IconPlus,
  IconSearch,
  IconSun,
  IconWebhook,
} from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { meQuery, waitingQuery } from '../api/queries.ts'
import { useMayNot } from '../api/use-may.ts'
import { formatUpTo100 } from '../ui/format.ts'
import { IconButton } from '../ui/icon-button.tsx'
import { ServerMenu } from './server-menu.tsx'
import classes from './top-bar.module.css'
import { useColorScheme } from './use-color-scheme.ts'

type Props = { readonly onStart: () => void; readonly onHelp: () => void }

export function TopBar({ onStart, onHelp }: Props) {
  const { shown, toggle } = useColorScheme()
  const mayNotStart = useMayNot('runs:create')
  const mayNotManage = useMayNot('webhooks:manage')
  const other = shown === 'dark' ? 'light' : 'dark'
  return (
    <header className={classes.bar}>
      <Link href="/" className={classes.home} aria-label="retrAI, all runs">
        <Logo />
      </Link>
      <Waiting />
      <div className={classes.actions}>
        <Who />
        <Link href="/search" className={classes.search} aria-label="Search all runs">
          <IconSearch size={17} stroke={1.8} aria-hidden />
          <span className={classes.wideOnly}>Search</span>
        </Link>
        {mayNotManage === null && (
          <Tooltip label="Webhooks">
            <ActionIcon
              component={Link}
              href="/webhooks"
              className={classes.wideOnly}
              variant="subtle"
              size="lg"
              aria-label="Webhooks"
            >
              <IconWebhook size={19} stroke={1.6} />
            </ActionIcon>
          </Tooltip>
        )}
        <IconButton
          tip="Shortcuts (?)"
          aria-label="Keyboard shortcuts"
          icon={IconKeyboard}
          className={classes.wideOnly}
          onClick={onHelp}
        />
        <IconButton
          tip={`Show in ${other} (t)`}
          icon={shown === 'dark' ? IconSun : IconMoon}
          onClick={toggle}
        />
        <ServerMenu />
        <Button
          leftSection={<IconPlus size={16} />}
          disabled={mayNotStart !== null}
          title={mayNotStart ?? undefined}
          onClick={onStart}
        >
          <span>
            Start<span className={classes.wideOnly}> a run</span>
          </span>
        </Button>
      </div>
    </header>
  )
}

/** The name of the person's token, if there is one. */
function Who() {
  const { data: me } = useQuery(meQuery)
  if (me === undefined || me.principal === 'local') return null
  return (
    <span className={classes.who} data-testid="who">
      {me.principal} <span className={classes.role}>{me.role}</span>
    </span>
  )
}

/** Every page shows the runs that wait for a person. */
function Waiting() {
  const waiting = useQuery(waitingQuery).data?.runs ?? []
  const isMine = useMayNot('runs:decide') === null
  if (waiting.length === 0) return <span />
  const [first] = waiting
  const only = waiting.length === 1 && first !== undefined
  const isSame = waiting.every(({ status }) => status === first?.status)
  const href = only ? `/runs/${first.run_id}` : isSame ? `/?status=${first?.status}` : '/'
  return (
    <Link href={href} className={classes.waiting} data-for-others={!isMine}>
      <IconHandStop size={16} stroke={2} aria-hidden />
      <span>
        {formatUpTo100(waiting.length)} {only ? 'waits' : 'wait'}
        <span className={classes.roomy}> for {isMine ? 'you' : 'a person'}</span>
      </span>
    </Link>
  )
}

/** A trace that is being recorded, and the head that records it. */
function Logo() {
  return (
    <span className={classes.logo}>
      <svg width="30" height="30" viewBox="0 0 32 32" aria-hidden="true">
        <rect width="32" height="32" rx="9" className={classes.plate} />
        <path
          className={classes.trace}
          d="M6.500 20.500c3 0 3.500-9.500 6.700-9.500s3.200 10 6.200 10 2.600-5 4.600-5"
        />
        <circle className={classes.head} cx="25" cy="16" r="2.800" />
      </svg>
      <span className={classes.name}>
        retr<b>AI</b>
      </span>
    </span>
  )
}
