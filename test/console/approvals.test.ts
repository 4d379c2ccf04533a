import { expect, test } from 'vitest'
import { script } from '../../examples/scripted-model/fix-the-calculator.ts'
import { describeInBrowser, fact, useBrowser, useConsoleServer } from './support/page.ts'

const COMMAND = 'printf "\u202e" && touch made-by-the-agent'

describeInBrowser('a call that waits for a person', () => {
  const open = useBrowser()
  const server = useConsoleServer(({ turn, messages }) => {
    const words = JSON.stringify(messages)
    if (words.includes('Read the tests')) return { text: 'Hm.', delayMs: 600_000 }
    const asks = { calls: [{ tool: 'bash_exec', args: { command: COMMAND } }] }
    if (words.includes('Find the bug') || turn > 0 || !words.includes('two sub-agents')) {
      return turn === 0 ? asks : (script[turn - 1] ?? { text: 'My script ends here.' })
    }
    const start = (instructions: string) => ({ tool: 'run_subagent', args: { instructions } })
    return { calls: [start('Find the bug.'), start('Read the tests.')] }
  })

  test('shows the call in full and its rule, then the answer and who gave it', async () => {
    const rule = { tool: 'bash_exec', action: 'ask', reason: 'Look at it first' }
    const runId = await server.start('asks', { approvals: [rule] })
    const page = await open(`${server.url}/runs/${runId}`)
    const panel = page.getByTestId('approval')
    await panel.getByText('May the agent call bash_exec?').waitFor()
    await panel.getByText('touch made-by-the-agent').first().waitFor()
    await panel.getByText('⟨U+202E⟩').first().waitFor()
    // Of a long call, a phone shows only the beginning.
    const why = panel.getByText('Rule 1 of the run asks: Look at it first.')
    const call = panel.getByText('touch made-by-the-agent').first()
    expect((await why.boundingBox())?.y).toBeLessThan((await call.boundingBox())?.y ?? 0)
    const reason = panel.getByPlaceholder('Optional reason')
    await reason.fill('Not this file')
    await reason.press('Enter')
    expect(await reason.inputValue()).toBe('Not this file\n')
    await panel.getByRole('button', { name: 'Deny' }).click()
    const timeline = page.getByTestId('timeline')
    await timeline.getByText('Not this file').first().waitFor()
    await expect
      .poll(async () => {
        const { runs } = server.client()
        const found = (await runs.get(runId))._unsafeUnwrap()
        return found.progress.seq
      })
      .toBeGreaterThan(8)
  })
  test('is shown even while the answers of the server lag behind the run', async () => {
    const rule = { tool: 'bash_exec', action: 'ask' }
    const runId = await server.start('late', { approvals: [rule] })
    const page = await open('about:blank')
    // The run over REST, as a late read model shows it.
    await page.route(`**/api/runs/${runId}`, async (route) => {
      const answer = await route.fetch()
      const run = await answer.json()
      const progress = { ...run.progress, seq: 1, waiting_for: null }
      await route.fulfill({ json: { ...run, status: 'running', progress } })
    })
    await page.goto(`${server.url}/runs/${runId}`)
    const panel = page.getByTestId('approval')
    await panel.getByText('May the agent call bash_exec?').waitFor()
    await page.getByText('Waiting for a person').first().waitFor()
    await panel.getByRole('button', { name: 'Deny' }).click()
    await panel.waitFor({ state: 'hidden' })
  })

  test('of a sub-agent is shown below the timeline of its parent, which stays where it is, beside the sub-agents that work', async () => {
    const runId = await server.start('family', {
      instructions: 'Start two sub-agents.',
      max_turns_per_iteration: 9,
      approvals: [{ tool: 'bash_exec', action: 'ask', reason: 'Look at it first' }],
    })
    const page = await open(`${server.url}/runs/${runId}`)
    const list = page.getByRole('list', { name: 'Sub-agents at work' })
    await list.getByText('It waits for a person: ').waitFor()
    expect(await list.getByRole('listitem').count()).toBe(2)
    const timeline = await page.getByTestId('timeline').boundingBox()
    const bottom = (timeline?.y ?? 0) + (timeline?.height ?? 0)
    expect((await list.boundingBox())?.y).toBeGreaterThanOrEqual(bottom)
    await fact(page, 'Now').getByText('Waiting for 2 sub-agents').waitFor()
    await list.getByText('Waits for you', { exact: true }).waitFor()
    await list.getByText('Running', { exact: true }).waitFor()
    await list.getByRole('link').first().click()
    await page.getByTestId('approval').getByText('touch made-by-the-agent').first().waitFor()
  })
})
