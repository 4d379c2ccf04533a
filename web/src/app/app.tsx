import { Route, Switch } from 'wouter'
import { RunsPage } from '../list/runs-page.tsx'
import { RunPage } from '../run-page/run-page.tsx'
import { NotFound } from './not-found.tsx'
import { Shell } from './shell.tsx'
import { TokenGate } from './token-gate.tsx'

export function App() {
  return (
    <TokenGate>
      <Shell>
        <Switch>
          <Route path="/">
            <RunsPage />
          </Route>
          <Route path="/runs/:id">{({ id }) => <RunPage key={id} runId={id} />}</Route>
          <Route>
            <NotFound />
          </Route>
        </Switch>
      </Shell>
    </TokenGate>
  )
}
