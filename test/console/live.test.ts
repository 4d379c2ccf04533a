import { expect, test } from 'vitest'
import { gatedModel } from './support/gate.ts'
import {
  describeInBrowser,
  fact,
  unfold,
  untilReceived,
  useBrowser,
  useConsoleServer,
} from './support/page.ts'

describeInBrowser('a run that goes on', () => {
  const open = useBrowser()
  const { model, allowReplies } = gatedModel()
  const server = useConsoleServer(model)

  test('is started in the form, watched live to its end, and found in the list', async () => {
    const project = await server.newProject('by-hand')
    const page = await open(server.url)
    await page.getByText('No runs yet').waitFor()
    await page.keyboard.press('n')
    const form = page.getByRole('dialog', { name: 'Start a run' })
    await form.getByLabel('Project folder').fill(project)
    const fitting = form.getByRole('radio', { name: /^npm-test/ })
    await expect.poll(() => fitting.getAttribute('aria-checked')).toBe('true')
    await unfold(form)
    await form.getByLabel('Model').fill('scripted-model')
    await form.getByRole('combobox', { name: 'Effort' }).click()
    await page.getByRole('option', { name: 'high', exact: true }).click()
    await form.getByLabel('Fallbacks').fill('another-model')
    await page.keyboard.press('Enter')
    await form.getByLabel('Turn limit').fill('1')
    await form.getByText('Commands are not isolated').waitFor()
    await form.getByRole('button', { name: 'Start the run' }).click()

    await page.waitForURL(/\/runs\/[0-9a-f-]{36}$/)
    await page.getByRole('heading', { name: 'npm-test in by-hand' }).waitFor()
    await page.getByTestId('connection').getByText('Live', { exact: true }).waitFor()
    await page.getByText('another-model').first().waitFor()
    await expect.poll(() => fact(page, 'Now').textContent()).toBe('Asking the model')
    allowReplies(1)
    await page.getByTestId('timeline').getByText('3 of 9 tests failing').first().waitFor()
    await expect.poll(() => fact(page, 'Iteration').textContent()).toBe('2 of 20')
    allowReplies(3)
    await untilReceived(page)
    await expect.poll(() => fact(page, 'Goal').textContent()).toBe('All 9 tests passed')
    // The page follows the run to its end, and shows it.
    const below = `(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight)(
      document.querySelector('[data-testid="timeline"]'))`
    await expect.poll(() => page.evaluate(below)).toBeLessThan(2)
    await expect.poll(() => page.title()).toContain('Achieved: npm-test in by-hand')

    await page.getByRole('link', { name: 'retrAI, all runs' }).click()
    const line = page.getByRole('link', { name: /npm-test in by-hand/ })
    await line.getByText('Achieved').waitFor()
    await line.getByText('3 of 20').waitFor()
  })

  test('is changed while it works, and aborted after a confirmation', async () => {
    const runId = await server.start('to-change')
    const page = await open(`${server.url}/runs/${runId}`)
    const timeline = page.getByTestId('timeline')
    await page.getByRole('button', { name: 'Change the run' }).click()
    const change = page.getByRole('dialog', { name: 'Change the run' })
    await change.getByLabel('Iteration limit').fill('7')
    await change.getByRole('button', { name: 'Change from the next step' }).click()
    await change.waitFor({ state: 'hidden' })
    await timeline.getByText('max_iterations is now 7').waitFor()
    await page.getByRole('button', { name: 'Abort the run' }).click()
    const abort = page.getByRole('dialog', { name: 'Abort this run?' })
    await abort.getByLabel('Reason').fill('Wrong branch')
    await abort.getByRole('button', { name: 'Abort the run' }).click()
    await abort.waitFor({ state: 'hidden' })
    await timeline.getByText('Wrong branch').waitFor()
    await untilReceived(page)
  })

  test('that does not exist is reported', async () => {
    const page = await open(`${server.url}/runs/00000000-0000-4000-8000-000000000000`)
    await page.getByRole('heading', { name: 'Nothing here' }).waitFor()
    await page.getByText('There is no run 00000000').waitFor()
  })
})

describeInBrowser('a page that breaks', () => {
  const open = useBrowser(/broken on purpose/)
  const server = useConsoleServer([])

  test('says why, and leads to the others', async () => {
    const runId = await server.start('breaks')
    const page = await open('about:blank')
    await page.addInitScript(`
      const { prototype } = Intl.NumberFormat
      const format = Object.getOwnPropertyDescriptor(prototype, 'format').get
      Object.defineProperty(prototype, 'format', {
        get() {
          if (location.pathname !== '/') throw new Error('broken on purpose')
          return format.call(this)
        },
      })`)
    await page.goto(`${server.url}/runs/${runId}`)
    await page.getByRole('heading', { name: 'This page cannot be shown' }).waitFor()
    await page.getByText('broken on purpose').waitFor()
    await page.getByRole('link', { name: 'All runs', exact: true }).click()
    await page.getByRole('heading', { name: 'Runs' }).waitFor()
  })
})
