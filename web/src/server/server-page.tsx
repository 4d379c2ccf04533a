import type { ComponentType } from 'react'
import type { Permission } from '../../../src/client/index.ts'
import { useMayNot } from '../api/use-may.ts'
import { NotFound } from '../app/not-found.tsx'
import { useTitle } from '../ui/use-title.ts'
import { AccessPage } from './access-page.tsx'
import { CheckpointsPage } from './checkpoints-page.tsx'
import { KeysPage } from './keys-page.tsx'
import { RedactionsPage } from './redactions-page.tsx'
import classes from './server-page.module.css'
import { SERVER_PAGES, type ServerPageName } from './server-pages.ts'

const CONTENT: Readonly<Record<ServerPageName, ComponentType>> = {
  access: AccessPage,
  redactions: RedactionsPage,
  checkpoints: CheckpointsPage,
  keys: KeysPage,
}

/** What the server as a whole has recorded and signed. */
export function ServerPage({ name }: { readonly name: string }) {
  const page = SERVER_PAGES.find((each) => each.name === name)
  return page === undefined ? <NotFound /> : <Permitted {...page} />
}

type Props = { readonly name: ServerPageName; readonly title: string; readonly needs: Permission }

function Permitted({ name, title, needs }: Props) {
  const mayNot = useMayNot(needs)
  useTitle(title)
  if (mayNot !== null) return <NotFound title="Not for you">{mayNot}</NotFound>
  const Content = CONTENT[name]
  return (
    <div className={classes.page}>
      <Content />
    </div>
  )
}
