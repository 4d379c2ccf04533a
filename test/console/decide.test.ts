import { expect, test } from 'vitest'
import type { AgentEvent } from '../../src/client/index.ts'
import { gatedModel } from './support/gate.ts'
import {
  abortIn,
  describeInBrowser,
  fact,
  signIn,
  TOKEN,
  untilReceived,
  useBrowser,
  useConsoleServer,
} from './support/page.ts'

describeInBrowser('a run that waits for a person', () => {
  const open = useBrowser()
  const { model, allowReplies } = gatedModel()
  const server = useConsoleServer(model)
  allowReplies(9)

  const waitingRun = async (name: string): Promise<string> =>
    server.start(name, { hitl_enabled: true })

  test('cannot be missed; the run continues when it is approved, and ends when it is aborted', async () => {
    const runId = await waitingRun('approved')
    const list = await open(server.url)
    await list.getByRole('link', { name: '1 waits for you' }).click()
    await list.waitForURL(`**/runs/${runId}`)

    const panel = list.getByTestId('decide')
    await panel.getByText('3 of 9 tests failing').waitFor()
    await list.keyboard.press('d')
    await list.keyboard.type('Leave clamp for the end')
    await list.keyboard.press('Enter')
    await list.keyboard.type('please')
    expect(await panel.getByPlaceholder('Optional reason').inputValue()).toBe(
      'Leave clamp for the end\nplease',
    )
    await panel.getByRole('button', { name: 'Approve' }).click()
    const timeline = list.getByTestId('timeline')
    await timeline.getByText('Leave clamp for the end').waitFor()
    await expect.poll(() => fact(list, 'Iteration').textContent()).toBe('2 of 20')

    await panel.getByText('2 of 9 tests failing').waitFor()
    await abortIn(list)
    await panel.waitFor({ state: 'detached' })
    await untilReceived(list)
    await expect.poll(() => list.title()).toContain('Aborted')
  })

  test('shows the answer of another person who was faster', async () => {
    const runId = await waitingRun('raced')
    const one = await open(`${server.url}/runs/${runId}`)
    const other = await open(`${server.url}/runs/${runId}`)
    await other.getByTestId('decide').waitFor()
    await abortIn(one)
    await other.getByTestId('decide').waitFor({ state: 'detached' })
    await other
      .getByTestId('decided')
      .getByText(/^Aborted by local after /)
      .waitFor()
    await other.getByTestId('timeline').getByText('Aborted at a human check').waitFor()
  })

  test('because it is paused says why, and continues with a higher limit; in the dialog, its other limits can be raised', async () => {
    const runId = await server.start('paused', {
      on_limit: 'pause',
      max_iterations: 1,
      max_tokens: 1_000_000,
    })
    const page = await open(server.url)
    await page.getByRole('link', { name: '1 waits for you' }).click()
    await page.waitForURL(`**/runs/${runId}`)
    const panel = page.getByTestId('paused')
    await panel.getByText('the goal was not reached in 1').waitFor()
    const limit = panel.getByLabel('Iteration limit')
    expect(await limit.inputValue()).toBe('2')
    await limit.fill('1')
    await panel.getByRole('button', { name: 'Continue' }).click()
    await panel.getByText('max_iterations is too low: the run has used one iteration.').waitFor()
    await page.getByRole('button', { name: 'Change the run' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Token limit').fill('1')
    await dialog.getByRole('button', { name: 'Change from the next step' }).click()
    await dialog
      .getByText(/^max_tokens is too low: the run has used/)
      .first()
      .waitFor()
    await dialog.getByLabel('Token limit').fill('2000000')
    await dialog.getByLabel('Working time limit').fill('600')
    await dialog.getByRole('button', { name: 'Change from the next step' }).click()
    await dialog.waitFor({ state: 'detached' })
    await limit.fill('2')
    await panel.getByRole('button', { name: 'Continue' }).click()
    const timeline = page.getByTestId('timeline')
    await timeline.getByText('The run continues by local').waitFor()
    await timeline.getByText('Paused: Iteration limit').first().waitFor()
    await panel.getByText('the goal was not reached in 2').waitFor()
    await expect.poll(() => fact(page, 'Tokens').textContent()).toContain('of 2,000,000')
    await panel.getByRole('button', { name: 'Abort the run' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Abort the run' }).click()
    await panel.waitFor({ state: 'detached' })
  })
})

describeInBrowser('who did what', () => {
  const open = useBrowser(/status of 401/)
  const { model, allowReplies } = gatedModel()
  const server = useConsoleServer(model, [], { RETRAI_TOKEN: TOKEN })
  allowReplies(2)

  const clientOf = async (name: string) => {
    const { tokens } = server.client(TOKEN)
    const made = (await tokens.create({ name, role: 'operator' }))._unsafeUnwrap()
    return { ...server.client(made.secret), secret: made.secret }
  }

  test('appears in the timeline and in the panel that asks, while it happens', async () => {
    const alice = await clientOf('alice')
    const bob = await clientOf('bob')
    const cwd = await server.newProject('shared')
    const request = {
      goal: 'npm-test',
      model_name: 'scripted-model',
      cwd,
      max_turns_per_iteration: 1,
      hitl_enabled: true,
    }
    const { run_id: runId } = (await alice.runs.create(request))._unsafeUnwrap()
    const page = await open(`${server.url}/runs/${runId}`)
    await signIn(page, bob.secret)
    const [timeline, panel] = [page.getByTestId('timeline'), page.getByTestId('decide')]
    await panel.getByText('3 of 9 tests failing').waitFor()
    await page.keyboard.press('Home')
    await timeline.getByText(/^alice asked to reach npm-test in /).waitFor()
    await page.keyboard.press('End')

    ;(
      await alice.runs.configure(runId, { max_iterations: 9, reason: 'It is an easy one' })
    )._unsafeUnwrap()
    await timeline.getByText('Configuration changed by alice: max_iterations is now 9').waitFor()
    await timeline.getByText('It is an easy one').waitFor()
    ;(
      await alice.runs.resume(runId, { decision: 'approve', reason: 'Continue gently' })
    )._unsafeUnwrap()
    await timeline.getByText(/^Approved by alice$/).waitFor()
    await panel.getByText('2 of 9 tests failing').waitFor()
    await panel.getByText(/^Last time: Approved by alice after .*: Continue gently$/).waitFor()

    await abortIn(page)
    const decided = page.getByTestId('decided')
    await decided.getByText(/^Aborted by bob after /).waitFor()
    await timeline.getByText(/^Aborted by bob$/).waitFor()
    await decided.getByRole('button', { name: 'Dismiss' }).click()
    await decided.waitFor({ state: 'detached' })

    // The record that bob saw is in the log.
    const records: AgentEvent[] = []
    for await (const event of bob.watch(runId, { kinds: 'all', meta: true })) records.push(event)
    const last = records.findLast(({ kind }) => kind === 'human_check_response')
    const asked = records.findLast(({ kind }) => kind === 'human_check_required')
    expect(last?.payload).toMatchObject({ seen: { seq: asked?.seq, hash: asked?.meta?.hash } })
    expect(last?.meta?.principal).toBe('bob')
  })
})
