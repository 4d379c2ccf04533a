import '@mantine/core/styles.layer.css'
import '@mantine/notifications/styles.layer.css'
import '@fontsource-variable/geist'
import '@fontsource-variable/jetbrains-mono'
import './app/tokens.css'
import { MantineProvider } from '@mantine/core'
import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { lazy, StrictMode, Suspense } from 'react'
import { createRoot } from 'react-dom/client'
import { ApiProblem } from './api/problem.ts'
import { App } from './app/app.tsx'
import { theme } from './app/theme.ts'

const Notifications = lazy(async () => {
  const { Notifications } = await import('@mantine/notifications')
  return { default: Notifications }
})

const queries = new QueryClient({
  defaultOptions: {
    // The server may be on this machine, which answers without any network.
    mutations: { networkMode: 'always' },
    queries: {
      networkMode: 'always',
      // The server would refuse the same request again; the next poll repeats one that did not reach it.
      retry: (failures, error) =>
        failures < 2 && error instanceof ApiProblem && error.error.type === 'unreachable',
    },
  },
})

const root = document.getElementById('root')
if (root === null) throw new Error('the page has no root')
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <MantineProvider theme={theme} defaultColorScheme="auto">
        <App />
        <Suspense>
          <Notifications position="bottom-right" />
        </Suspense>
      </MantineProvider>
    </QueryClientProvider>
  </StrictMode>,
)
