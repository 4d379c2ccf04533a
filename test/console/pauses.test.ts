import { expect, test } from 'vitest'
import { gatedModel } from './support/gate.ts'
import { describeInBrowser, fact, useBrowser, useConsoleServer } from './support/page.ts'

describeInBrowser('a run that is paused', () => {
  const open = useBrowser(/status of 422/)
  const { model, allowReplies } = gatedModel()
  const server = useConsoleServer(model)
  allowReplies(9)

  test('says why, and continues with a higher limit; in the dialog, its other limits can be raised', async () => {
    const runId = await server.start('paused', {
      ...{ on_limit: 'pause', max_iterations: 1, max_tokens: 1_000_000 },
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
