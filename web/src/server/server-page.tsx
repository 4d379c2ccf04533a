import { useMayNot } from '../api/use-may.ts'
import { NotFound } from '../app/not-found.tsx'
import { useTitle } from '../ui/use-title.ts'
import { AccessPage } from './access-page.tsx'
import { CheckpointsPage } from './checkpoints-page.tsx'
import { KeysPage } from './keys-page.tsx'
import { SERVER_PAGES } from './pages.ts'
import { RedactionsPage } from './redactions-page.tsx'
import classes from './server-page.module.css'

const PAGES = {
  access: AccessPage,
  redactions: RedactionsPage,
  checkpoints: CheckpointsPage,
  keys: KeysPage,
}

/** What the server as a whole has recorded and signed. */
export default function ServerPage({ name }: { readonly name: string }) {
  const page = SERVER_PAGES.find((each) => each.name === name)
  const mayNot = useMayNot(page?.needs ?? 'self:read')
  useTitle(page?.title ?? '')
  if (page === undefined) return <NotFound />
  if (mayNot !== null) return <NotFound title="Not for you">{mayNot}</NotFound>
  const Page = PAGES[page.name]
  return (
    <div className={classes.page}>
      <Page />
    </div>
  )
}
