import { afterAll, beforeAll, expect, test } from 'vitest'
import { script } from '../../examples/scripted-model/fix-the-calculator.ts'
import { createClient } from '../../src/client/index.ts'
import { describeInBrowser, useBrowser } from './support/page.ts'
import { type ConsoleServer, startConsoleServer, startRun } from './support/server.ts'

const COMMAND = 'printf "\u202e" && touch made-by-the-agent'

describeInBrowser('a call that waits for a person', () => {
  const open = useBrowser()
  let server: ConsoleServer
  beforeAll(async () => {
    server = await startConsoleServer(({ turn }) =>
      turn === 0
        ? { calls: [{ tool: 'bash_exec', args: { command: COMMAND } }] }
        : (script[turn - 1] ?? { text: 'My script ends here.' }),
    )
  })
  afterAll(() => server.stop())

  test('shows the call in full and its rule, then the answer and who gave it', async () => {
    const rule = { tool: 'bash_exec', action: 'ask', reason: 'Look at it first' }
    const cwd = await server.newProject('asks')
    const runId = await startRun(server.url, { cwd, approvals: [rule] })
    const page = await open(`${server.url}/runs/${runId}`)
    const panel = page.getByTestId('approval')
    await panel.getByText('May the agent call bash_exec?').waitFor()
    await panel.getByText('touch made-by-the-agent').first().waitFor()
    await panel.getByText('⟨U+202E⟩').first().waitFor()
    await panel.getByText('Look at it first').waitFor()
    await panel.getByPlaceholder('Optional reason').fill('Not this file')
    await panel.getByRole('button', { name: 'Deny' }).click()
    const timeline = page.getByTestId('timeline')
    await timeline.getByText('Not this file').first().waitFor()
    await expect
      .poll(async () => {
        const { runs } = createClient({ baseUrl: server.url })
        const found = (await runs.get(runId))._unsafeUnwrap()
        return found.progress.seq
      })
      .toBeGreaterThan(8)
  })
})
