import { Button, Center, PasswordInput, Stack, Text, Title } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { type FormEvent, type ReactNode, useEffect, useRef, useState } from 'react'
import { Route, Switch, useLocation } from 'wouter'
import { hasToken, keepToken } from '../api/client.ts'
import { ApiProblem } from '../api/problem.ts'
import { meQuery } from '../api/queries.ts'
import { RunsPage } from '../list/runs-page.tsx'
import { RunPage } from '../run-page/run-page.tsx'
import { NotFound } from './not-found.tsx'
import { PageBoundary } from './page-boundary.tsx'
import { Shell } from './shell.tsx'

export function App() {
  const [path] = useLocation()
  return (
    <TokenGate>
      <Shell>
        <PageBoundary key={path}>
          <Switch>
            <Route path="/">
              <RunsPage />
            </Route>
            <Route path="/runs/:id">{({ id }) => <RunPage runId={id} />}</Route>
            <Route>
              <NotFound />
            </Route>
          </Switch>
        </PageBoundary>
      </Shell>
    </TokenGate>
  )
}

/** Asks for a token if the server needs one, and shows the page when the server accepts it. */
function TokenGate({ children }: { readonly children: ReactNode }) {
  const [token, setToken] = useState('')
  const [tried, setTried] = useState(false)
  const input = useRef<HTMLInputElement>(null)
  const probe = useQuery(meQuery)
  const { error } = probe
  const refused =
    error instanceof ApiProblem && error.error.type === 'refused' && error.error.status === 401
  // While a token is tried, its answer is not known.
  const asks = refused || (tried && probe.isPending)
  useEffect(() => {
    if (refused) input.current?.focus()
  }, [refused])
  if (!asks) return children

  const submit = (event: FormEvent): void => {
    event.preventDefault()
    keepToken(token.trim())
    setTried(true)
    void probe.refetch()
  }
  return (
    <Center component="main" h="100dvh" p="lg">
      <form onSubmit={submit}>
        <Stack maw={380}>
          <Title order={1} size="h3">
            This server needs a token
          </Title>
          <Text c="dimmed" size="sm">
            Enter the secret of a token, which begins with retrai_, or the value of RETRAI_TOKEN.
            This tab keeps it until you close it.
          </Text>
          <PasswordInput
            ref={input}
            label="Token"
            value={token}
            onChange={(event) => setToken(event.currentTarget.value)}
            error={
              !hasToken() || probe.isFetching ? null : 'The server does not accept this token.'
            }
          />
          <Button type="submit" loading={probe.isFetching} disabled={token.trim() === ''}>
            Continue
          </Button>
        </Stack>
      </form>
    </Center>
  )
}
