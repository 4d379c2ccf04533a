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

/** Asks for a token if the server needs one, until it accepts one. An answer that is lost in between ends nothing. */
function TokenGate({ children }: { readonly children: ReactNode }) {
  const [asks, setAsks] = useState(false)
  // While a person types, nothing is asked.
  const { error, isSuccess, isFetching, refetch } = useQuery({ ...meQuery, enabled: !asks })
  const isRefused =
    error instanceof ApiProblem && error.error.type === 'refused' && error.error.status === 401
  if (asks ? isSuccess : isRefused) setAsks(!asks)
  if (!asks) return children
  const problem = isRefused ? 'The server does not accept this token.' : error?.message
  return (
    <Suspense>
      <TokenForm problem={problem} isTrying={isFetching} onTry={() => void refetch()} />
    </Suspense>
  )
}
