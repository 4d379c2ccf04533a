import { afterAll, beforeAll, expect, test } from 'vitest'
import { gatedModel } from './support/gate.ts'
import { describeInBrowser, fact, useBrowser } from './support/page.ts'
import { type ConsoleServer, startConsoleServer, startRun } from './support/server.ts'

describeInBrowser('a run that waits for a person', () => {
  const open = useBrowser()
  const { model, letSay } = gatedModel()
  let server: ConsoleServer
  beforeAll(async () => {
    server = await startConsoleServer(model)
    letSay(2)
  })
  afterAll(() => server.stop())

  const waitingRun = async (name: string): Promise<string> =>
    startRun(server.url, { cwd: await server.newProject(name), hitl_enabled: true })

  test('cannot be missed, goes on when it is approved, and ends when it is aborted', async () => {
    const runId = await waitingRun('approved')
    const list = await open(server.url)
    await list.getByRole('link', { name: '1 waits for you' }).click()
    await list.waitForURL(`**/runs/${runId}`)

    const panel = list.getByTestId('decide')
    await panel.getByText('3 of 9 tests failing').waitFor()
    await list.keyboard.press('d')
    await list.keyboard.type('Leave clamp for the end')
    await panel.getByRole('button', { name: 'Approve' }).click()
    const timeline = list.getByTestId('timeline')
    await timeline.getByText('Leave clamp for the end').waitFor()
    await expect.poll(() => fact(list, 'Iteration').textContent()).toBe('2 of 20')

    await panel.getByText('2 of 9 tests failing').waitFor()
    await panel.getByRole('button', { name: 'Abort the run' }).click()
    await panel.waitFor({ state: 'detached' })
    await list.getByTestId('connection').getByText('All records received').waitFor()
    await expect.poll(() => list.title()).toContain('Aborted')
  })

  test('shows the answer of somebody else, who was faster', async () => {
    const runId = await waitingRun('raced')
    const [one, other] = [
      await open(`${server.url}/runs/${runId}`),
      await open(`${server.url}/runs/${runId}`),
    ]
    await other.getByTestId('decide').waitFor()
    await one.getByTestId('decide').getByRole('button', { name: 'Abort the run' }).click()
    await other.getByTestId('decide').waitFor({ state: 'detached' })
    await other.getByTestId('timeline').getByText('Aborted at a human check').waitFor()
  })
})
