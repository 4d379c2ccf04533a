import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import type { Turn } from '../../examples/scripted-model/script.ts'
import { bash, printed } from '../support/site.ts'
import { faults } from './support/faults.ts'
import {
  describeInBrowser,
  elementsIn,
  fact,
  untilReceived,
  useBrowser,
  useConsoleServer,
} from './support/page.ts'
import { SampleRun } from './support/sample-run.ts'
import { configOf } from './support/seed.ts'

const STEPS = ['Read the failing tests', 'Correct the calculator']
const plan = (done: number) => ({
  tool: 'update_plan',
  args: {
    steps: STEPS.map((step, at) => ({ step, status: at < done ? 'completed' : 'pending' })),
  },
})

/** Tests that cannot fail, in the place of those of the project. */
const CHEAT = bash(
  `printf "import { test } from 'node:test'\\ntest('all', () => {})\\n" > *.test.js`,
)

/** The replies in the project with this name. */
const SCRIPTS: Readonly<Record<string, readonly Turn[]>> = {
  counting: [
    { text: 'I count.', calls: [{ tool: 'bash_exec', args: { command: 'seq 1 60000' } }] },
  ],
  planned: [{ calls: [plan(0)] }, { calls: [plan(1)] }],
  cheated: [CHEAT],
}

const LONG = randomUUID()
const lines = (word: string): string => `${word}\n`.repeat(400)
const sample = new SampleRun(LONG, configOf(), Date.now() / 1000 - 60).iterate({
  text: 'I rewrite it.',
  calls: [
    { tool: 'bash_exec', args: { command: `cat <<EOF\n${lines('here')}EOF` }, output: 'done' },
    {
      tool: 'file_patch',
      args: { path: 'a.py', old: lines('old'), new: lines('new') },
      output: 'Replaced.',
    },
    { tool: 'no_such_tool', args: { list: Array(400).fill(1) }, output: 'Unknown', exitCode: 1 },
  ],
  check: { achieved: true, reason: 'All tests passed' },
})

describeInBrowser('the page of a run', () => {
  const open = useBrowser()
  const server = useConsoleServer(
    ({ turn, conversation }) => {
      const name = Object.keys(SCRIPTS).find((project) => conversation.includes(`/${project}.`))
      return SCRIPTS[name ?? '']?.[turn] ?? { text: 'That is all.' }
    },
    [sample],
  )

  test('loads a long output in full and checks it, and downloads the run as a signed export', async () => {
    const runId = await server.start('counting', { max_iterations: 1 })
    const page = await open(`${server.url}/runs/${runId}`, { received: true })
    await page.getByText('The server has signed exactly this history').waitFor()

    const timeline = page.getByTestId('timeline')
    await timeline.getByRole('button', { name: 'Fetch all of it' }).click()
    await timeline.getByText('Its SHA-256 equals the one in the record.').waitFor()
    expect(await timeline.getByText(/^31234$/m).count()).toBe(1)

    const download = async (name: string, ending: string) => {
      const saving = page.waitForEvent('download')
      await page.getByRole('button', { name }).click()
      const saved = await saving
      expect(saved.suggestedFilename()).toBe(`retrai-run-${runId}.${ending}`)
      return readFile(await saved.path())
    }
    const archive = gunzipSync(await download('Signed export', 'tar.gz'))
    expect(archive.includes(runId)).toBe(true)
    const shown = await download('Page of evidence', 'html')
    expect(shown.toString()).toMatch(/^<!doctype html>/)
  })

  test('changes the tags of a run that has ended', async () => {
    const page = await open(`${server.url}/runs/${LONG}`)
    await page.getByRole('combobox', { name: 'Tags of the run' }).fill('nightly')
    await page.keyboard.press('Enter')
    await page.keyboard.type('flaky,')
    const { runs } = server.client()
    const tags = () => runs.get(LONG).map((run) => run.tags)
    await expect.poll(() => tags().unwrapOr([])).toEqual(['nightly', 'flaky'])
    await page.reload()
    await page.getByText('flaky', { exact: true }).waitFor()
    await page.getByRole('combobox', { name: 'Tags of the run' }).press('Backspace')
    await expect.poll(() => tags().unwrapOr([])).toEqual(['nightly'])
  })

  test('shows the plan of the agent as it was at each moment, as the CLI does', async () => {
    const runId = await server.start('planned', { max_iterations: 3 })
    const page = await open(`${server.url}/runs/${runId}`)
    const panel = page.locator('section', { has: page.getByRole('heading', { name: 'Plan' }) })
    await panel.getByText('1 of 2 done').waitFor()
    await untilReceived(page)
    const items = await panel.getByRole('listitem').allTextContents()
    expect(items).toEqual([`✓${STEPS[0]}`, `○${STEPS[1]}`])

    const results: number[] = []
    for await (const { kind, seq } of server.client().watch(runId)) {
      if (kind === 'tool_result') results.push(seq)
    }
    const [first = 0] = results
    const slider = page.getByRole('slider', { name: 'Moment of the run' })
    await slider.fill(String(first))
    await panel.getByText('0 of 2 done').waitFor()
    await slider.fill(String(first - 1))
    await panel.waitFor({ state: 'detached' })

    const shown = await printed(['show', runId, '--server', server.url])
    expect(shown).toContain(`plan       [x] ${STEPS[0]}\nplan       [ ] ${STEPS[1]}\n`)
  })

  test('folds what a tool was asked for at length, until it is opened', async () => {
    const page = await open(`${server.url}/runs/${LONG}`)
    const timeline = page.getByTestId('timeline')
    await timeline.getByRole('button', { name: 'Show all 402 lines' }).waitFor()
    await timeline.getByRole('button', { name: 'Show all 404 lines' }).waitFor()
    expect(await timeline.locator('[data-type="added"]').count()).toBe(0)
    expect(await elementsIn(page, 'timeline')).toBeLessThan(1500)
    await timeline.getByRole('button', { name: 'Show all 800 lines' }).click()
    await expect.poll(() => timeline.locator('[data-type="added"]').count()).toBe(400)
    await timeline.getByRole('button', { name: 'Show less' }).click()
    await expect.poll(() => timeline.locator('[data-type="added"]').count()).toBe(0)
  })

  test('shows the doubt in a run that changed its tests: in the list, in its head and at its end', async () => {
    const runId = await server.start('cheated', { max_iterations: 2 })
    const page = await open(`${server.url}/runs/${runId}`, { received: true })
    const head = page.locator('h1 + [data-status]')
    await head.getByText('Achieved, in doubt').waitFor()
    await expect
      .poll(() => fact(page, 'Goal').textContent())
      .toMatch(/; but .*1 protected file changed/)
    const end = page.getByTestId('timeline').locator('[data-status="achieved"]')
    await end.getByText('Achieved, in doubt').waitFor()
    expect(await end.locator('dl').textContent()).toMatch(
      /files of the start *not reached.*Protected files *calculator\.test\.js \(modified\)/,
    )
    expect(await faults(page)).toEqual([])
    await page.goto(server.url)
    await page.getByRole('link', { name: /Achieved, in doubt/ }).waitFor()
    expect(await faults(page)).toEqual([])
  })
})
