import { useMayNot } from '../api/use-may.ts'
import { NotFound } from '../app/not-found.tsx'
import { useTitle } from '../ui/use-title.ts'
import { AccessPage } from './access-page.tsx'
import { CheckpointsPage } from './checkpoints-page.tsx'
import { KeysPage } from './keys-page.tsx'
import { RedactionsPage } from './redactions-page.tsx'
import classes from './server-page.module.css'

/** The pages about the server as a whole, at `/server/NAME`, and what a person needs to read them. */
export const SERVER_PAGES = [
  { name: 'access', title: 'Access log', needs: 'access:read', Page: AccessPage },
  { name: 'redactions', title: 'Redactions', needs: 'access:read', Page: RedactionsPage },
  { name: 'checkpoints', title: 'Checkpoints', needs: 'checkpoints:read', Page: CheckpointsPage },
  { name: 'keys', title: 'Keys', needs: 'runs:verify', Page: KeysPage },
] as const

/** What the server as a whole has recorded and signed. */
export function ServerPage({ name }: { readonly name: string }) {
  const page = SERVER_PAGES.find((each) => each.name === name)
  const mayNot = useMayNot(page?.needs ?? 'self:read')
  useTitle(page?.title ?? '')
  if (page === undefined) return <NotFound />
  if (mayNot !== null) return <NotFound title="Not for you">{mayNot}</NotFound>
  return (
    <div className={classes.page}>
      <page.Page />
    </div>
  )
}
