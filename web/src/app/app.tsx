import { useQuery } from '@tanstack/react-query'
import { lazy, type ReactNode, Suspense, useState } from 'react'
import { Route, Switch, useLocation } from 'wouter'
import { ApiProblem } from '../api/problem.ts'
import { meQuery } from '../api/queries.ts'
import { RunsPage } from '../list/runs-page.tsx'
import { NotFound } from './not-found.tsx'
import { PageBoundary } from './page-boundary.tsx'
import { Shell } from './shell.tsx'

/** Files of their own, so that nobody waits for what they do not see. */
const TokenForm = lazy(() => import('./token-form.tsx'))
const RunPage = lazy(() => import('../run-page/run-page.tsx'))
const WebhooksPage = lazy(() => import('../webhooks/webhooks-page.tsx'))
const ServerPage = lazy(() => import('../server/server-page.tsx'))
const SearchPage = lazy(() => import('../search/search-page.tsx'))

export function App() {
  const [path] = useLocation()
  return (
    <TokenGate>
      <Shell>
        <PageBoundary key={path}>
          <Suspense>
            <Switch>
              <Route path="/">
                <RunsPage />
              </Route>
              <Route path="/search">
                <SearchPage />
              </Route>
              <Route path="/webhooks">
                <WebhooksPage />
              </Route>
              <Route path="/runs/:id">{({ id }) => <RunPage runId={id} />}</Route>
              <Route path="/server/:name">{({ name }) => <ServerPage name={name} />}</Route>
              <Route>
                <NotFound />
              </Route>
            </Switch>
          </Suspense>
        </PageBoundary>
      </Shell>
    </TokenGate>
  )
}

/** Asks for a token if the server needs one, and shows the page when the server accepts it. */
function TokenGate({ children }: { readonly children: ReactNode }) {
  const [tried, setTried] = useState(false)
  const probe = useQuery(meQuery)
  const { error } = probe
  const refused =
    error instanceof ApiProblem && error.error.type === 'refused' && error.error.status === 401
  // While a token is tried, its answer is not known.
  const asks = refused || (tried && probe.isPending)
  if (!asks) return children
  const onTry = () => {
    setTried(true)
    void probe.refetch()
  }
  return (
    <Suspense>
      <TokenForm refused={refused} isTrying={probe.isFetching} onTry={onTry} />
    </Suspense>
  )
}
