import { afterAll, beforeAll, expect, test } from 'vitest'
import { createClient } from '../../src/client/index.ts'
import { gatedModel } from './support/gate.ts'
import { describeInBrowser, fact, useBrowser } from './support/page.ts'
import { startProxy, type TcpProxy } from './support/proxy.ts'
import { type ConsoleServer, startConsoleServer, startRun } from './support/server.ts'

describeInBrowser('a connection that is lost', () => {
  const open = useBrowser()
  const { model, allowReplies } = gatedModel()
  let server: ConsoleServer
  let proxy: TcpProxy
  beforeAll(async () => {
    server = await startConsoleServer(model)
    proxy = await startProxy(server.url)
  })
  afterAll(async () => {
    await proxy.close()
    await server.stop()
  })

  test('is reported, and everything that happened meanwhile arrives when it is back, without a reload', async () => {
    const runId = await startRun(server.url, { cwd: await server.newProject('calculator') })
    const page = await open(`${proxy.url}/runs/${runId}`)
    const badge = page.getByTestId('connection')
    await badge.getByText('Live', { exact: true }).waitFor()
    await expect.poll(() => fact(page, 'Iteration').textContent()).toBe('1 of 20')
    await page.evaluate('window.neverReloaded = true')

    proxy.cut()
    await badge.getByText(/Connection lost at record \d+/).waitFor()
    allowReplies(3)
    const { runs } = createClient({ baseUrl: server.url })
    const status = async () => (await runs.get(runId))._unsafeUnwrap().status
    await expect.poll(status, { timeout: 90_000 }).toBe('achieved')
    expect(await fact(page, 'Iteration').textContent()).toBe('1 of 20')

    proxy.repair()
    await badge.getByText('All records received').waitFor({ timeout: 90_000 })
    await page.getByText(/^(\d+) of \1 records verified here, in your browser/).waitFor()
    await page.getByText("The server's totals match the records").waitFor()
    expect(await fact(page, 'Goal').textContent()).toBe('All 9 tests passed')
    expect(await page.evaluate('window.neverReloaded')).toBe(true)
  })
})
