import { cp } from 'node:fs/promises'
import { test as base } from 'vitest'
import { type ServerOptions, startTestServer, type TestServer } from './server.ts'
import { Site } from './site.ts'

/**
 * `test` with what most tests need. A test that names one of these in its parameter gets it, and what it uses is closed
 * and removed afterwards:
 * - `server`: a server in this process on a free port, one for all tests of a file; `testWith` configures it
 * - `runId`: the id of a run on it that has just been created
 * - `ownServer`, `startServer`: a server for this test only, and a function that starts such a server with options
 * - `site`: a folder for server processes, their data folders, stores and models, and for projects
 * - `usedFolder`: the id of a run that has reached its goal. The data folder of `site` is what its server left; one server
 *   makes it for all tests of a file, and each gets a copy
 */
export const test = base
  .extend('serverOptions', { scope: 'file' }, {} as ServerOptions)
  .extend('server', { scope: 'file' }, async ({ serverOptions }, { onCleanup }) => {
    const server = await startTestServer(serverOptions)
    onCleanup(() => server.stop())
    return server
  })
  .extend('runId', async ({ server }) => server.createRun())
  .extend('startServer', async ({ task: _ }, { onCleanup }) => {
    const started: TestServer[] = []
    onCleanup(async () => {
      for (const server of started) await server.stop()
    })
    return async (options?: ServerOptions): Promise<TestServer> => {
      const server = await startTestServer(options)
      started.push(server)
      return server
    }
  })
  .extend('ownServer', async ({ startServer }) => startServer())
  .extend('site', async ({ task: _ }, { onCleanup }) => {
    const site = await Site.open()
    onCleanup(() => site.close())
    return site
  })
  .extend('leftForAll', { scope: 'file' }, async ({ serverOptions: _ }, { onCleanup }) => {
    const site = await Site.open()
    onCleanup(() => site.close())
    const { server, runId } = await site.used()
    await server.stop()
    return { dataDir: site.path('data'), runId }
  })
  .extend('usedFolder', async ({ leftForAll, site }) => {
    await cp(leftForAll.dataDir, site.path('data'), { recursive: true })
    return leftForAll.runId
  })

/** The same, with a `server` that has these options. */
export const testWith = (serverOptions: ServerOptions) =>
  test.extend('serverOptions', { scope: 'file' }, serverOptions)
