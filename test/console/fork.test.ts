import { beforeAll, expect, test } from 'vitest'
import { describeInBrowser, unfold, useBrowser, useConsoleServer } from './support/page.ts'

const ID = /\/runs\/([0-9a-f-]{36})/

describeInBrowser('after a run', () => {
  const open = useBrowser()
  const server = useConsoleServer([{ text: 'There is nothing that I can do.' }])
  const client = () => server.client()

  let runId: string
  beforeAll(async () => {
    const asked = { max_iterations: 1, max_tokens: 90_000, instructions: 'Water the orchid.' }
    runId = await server.start('project', asked)
  })

  /** The page of the run, which has ended. */
  async function ended() {
    const page = await open(`${server.url}/runs/${runId}`)
    await page.getByRole('button', { name: 'Run again' }).waitFor()
    await page.getByRole('heading', { name: 'Water the orchid. in project' }).waitFor()
    const next = async () => {
      await page.waitForURL((url) => ID.test(url.href) && !url.href.includes(runId))
      return ID.exec(page.url())?.[1] ?? ''
    }
    return { page, next }
  }

  test('a message starts another one that continues it, and both name each other', async () => {
    const { page, next } = await ended()
    await page.getByRole('button', { name: 'Continue this run' }).click()
    const dialog = page.getByRole('dialog', { name: 'Continue this run' })
    await dialog.getByLabel('Message').fill('And the roses.')
    await dialog.getByRole('button', { name: 'Continue' }).click()
    const id = await next()
    await page.getByText(/begins from record \d+ of/).waitFor()
    await page.getByRole('link', { name: runId.slice(0, 8) }).click()
    await page.getByText('continued in').waitFor()
    const { runs } = (await client().runs.list({ origin: runId }))._unsafeUnwrap()
    expect(runs.map(({ run_id }) => run_id)).toEqual([id])
    await page.goto(server.url)
    await page.getByText(`begins from ${runId.slice(0, 8)}`).waitFor()
  })

  test('it can be begun from at the record that is shown', async () => {
    const { page, next } = await ended()
    await page.goto(`${server.url}/runs/${runId}#seq=4`)
    await page.getByRole('button', { name: 'Continue from here' }).click()
    const dialog = page.getByRole('dialog', { name: 'Continue from record 4' })
    await dialog.getByLabel('Message').fill('Otherwise.')
    await dialog.getByLabel('Model').fill('scripted-2')
    await dialog.getByRole('button', { name: 'Continue from here' }).click()
    const run = (await client().runs.get(await next()))._unsafeUnwrap()
    expect(run).toMatchObject({ origin: { run_id: runId, seq: 4 }, model_name: 'scripted-2' })
  })

  test('the form of the same run is filled in, and can be changed', async () => {
    const { page, next } = await ended()
    await page.getByRole('button', { name: 'Run again' }).click()
    const form = page.getByRole('dialog', { name: 'Start a run' })
    expect(await form.getByLabel('Instructions').inputValue()).toBe('Water the orchid.')
    await unfold(form)
    await form.getByLabel('Iteration limit').fill('2')
    await form.getByRole('button', { name: 'Start the run' }).click()
    const run = (await client().runs.get(await next()))._unsafeUnwrap()
    const before = (await client().runs.get(runId))._unsafeUnwrap()
    const { cwd, goal, max_tokens, model_name } = before
    expect(run).toMatchObject({ cwd, goal, max_tokens, model_name, max_iterations: 2 })
    expect(run.origin).toBeUndefined()
  })
})
