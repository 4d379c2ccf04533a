import type { Page, Route } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Wire } from '../support/eventstore-stand-in/wire.ts'
import { gatedModel } from './support/gate.ts'
import { describeInBrowser, fact, useBrowser, useConsoleServer } from './support/page.ts'
import { type ConsoleServer, startConsoleServer } from './support/server.ts'

/** The next request to this address reaches the server, and its answer does not come back. */
async function loseAnAnswer(page: Page, address: RegExp): Promise<void> {
  const lose = async (route: Route): Promise<void> => {
    await route.fetch()
    await route.abort()
  }
  await page.route(address, lose, { times: 1 })
}

describeInBrowser('a connection that is lost', () => {
  const open = useBrowser()
  const { model, allowReplies } = gatedModel()
  let server: ConsoleServer
  let wire: Wire
  beforeAll(async () => {
    server = await startConsoleServer(model)
    wire = new Wire(0, Number(new URL(server.url).port))
    await wire.open()
  })
  afterAll(async () => {
    await wire.close()
    await server.stop()
  })

  test('is reported, and everything that happened meanwhile arrives when it is back, without a reload', async () => {
    const runId = await server.start('calculator')
    const page = await open(`http://127.0.0.1:${wire.port}/runs/${runId}`)
    const badge = page.getByTestId('connection')
    await badge.getByText('Live', { exact: true }).waitFor()
    await expect.poll(() => fact(page, 'Iteration').textContent()).toBe('1 of 20')
    await page.evaluate('window.neverReloaded = true')

    await wire.close()
    await badge.getByText(/Connection lost at record \d+/).waitFor()
    allowReplies(3)
    const { runs } = server.client()
    const status = async () => (await runs.get(runId))._unsafeUnwrap().status
    await expect.poll(status, { timeout: 90_000 }).toBe('achieved')
    expect(await fact(page, 'Iteration').textContent()).toBe('1 of 20')

    await wire.open()
    await badge.getByText('All records received').waitFor({ timeout: 90_000 })
    await page.getByText(/^(\d+) of \1 records verified here, in your browser/).waitFor()
    await page.getByText("The server's totals match the records").waitFor()
    expect(await fact(page, 'Goal').textContent()).toBe('All 9 tests passed')
    expect(await page.evaluate('window.neverReloaded')).toBe(true)
  })

  test('is reported by the list and by the search, which continue when it is back', async () => {
    await server.start('listed')
    const url = `http://127.0.0.1:${wire.port}`
    const list = await open(url)
    const search = await open(`${url}/search`)
    const words = search.getByRole('searchbox', { name: 'Search all runs' })
    await list.getByText('in listed').waitFor()
    await words.waitFor()
    await wire.close()
    await list.getByText('This list may be out of date.').waitFor()
    await words.fill('calculator')
    await search.getByText('The server cannot be reached').waitFor()
    expect(await search.getByText('Nothing was found').count()).toBe(0)
    await wire.open()
    await list.getByText('This list may be out of date.').waitFor({ state: 'detached' })
    await search.getByText(/^[1-9]\d* records? in/).waitFor()
  })

  test('together with the answer to a message does not send it twice, whatever has happened since', async () => {
    const runId = await server.start('messages')
    const page = await open(`${server.url}/runs/${runId}`)
    await loseAnAnswer(page, /\/messages$/)
    await page.getByRole('button', { name: 'Send a message to the agent' }).click()
    const dialog = page.getByRole('dialog', { name: 'Send a message to the agent' })
    await dialog.getByLabel('Message').fill('Keep it small')
    await dialog.getByRole('button', { name: 'Send' }).click()
    await dialog.getByRole('alert').waitFor()
    const message = page.getByTestId('timeline').getByText('Keep it small')
    await message.waitFor()
    await dialog.getByRole('button', { name: 'Send' }).click()
    await dialog.waitFor({ state: 'detached' })
    const sent = await fetch(`${server.url}/api/runs/${runId}/events?kinds=user_message`)
    expect(await sent.json()).toHaveLength(1)
  })
})

describeInBrowser('a connection that looks open', () => {
  const open = useBrowser()
  // Its runs wait for the first reply.
  const server = useConsoleServer(gatedModel().model)

  test('is reported as lost if requests get no answer', async () => {
    const runId = await server.start('silent')
    const page = await open(`${server.url}/runs/${runId}`)
    const badge = page.getByTestId('connection')
    await badge.getByText('Live', { exact: true }).waitFor()
    // The WebSocket stays open.
    const requests = `**/api/runs/${runId}`
    await page.route(requests, (route) => route.abort())
    await badge.getByText(/Connection lost at record \d+/).waitFor()
    await page.unroute(requests)
    await badge.getByText('Live', { exact: true }).waitFor()
  })

  test('is replaced if the server has records that do not arrive', async () => {
    const runId = await server.start('deaf')
    const page = await open('about:blank')
    let isDeaf = false
    await page.routeWebSocket(/api\/ws/, (near) => {
      const far = near.connectToServer()
      const wasDeaf = isDeaf
      far.onMessage((message) => {
        if (wasDeaf === isDeaf) near.send(message)
      })
    })
    await page.goto(`${server.url}/runs/${runId}`)
    await page.getByTestId('connection').getByText('Live', { exact: true }).waitFor()
    isDeaf = true
    const { runs } = server.client()
    ;(await runs.send(runId, { text: 'Can you hear me?' }))._unsafeUnwrap()
    await page.getByTestId('timeline').getByText('Can you hear me?').waitFor()
  })
})
