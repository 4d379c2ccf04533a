import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FIXTURE } from '../mcp/support.ts'
import { describeInBrowser, unfold, useBrowser } from './support/page.ts'
import { type ConsoleServer, startConsoleServer } from './support/server.ts'

const SERVER_RULES = [{ command: 'rm *', action: 'deny', reason: 'Nothing is removed here' }]

describeInBrowser('the form that starts a run', () => {
  const open = useBrowser()
  let folder: string
  let server: ConsoleServer
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'retrai-form-'))
    const servers = join(folder, 'servers.json')
    const docs = { command: process.execPath, args: [FIXTURE, 'good'] }
    await writeFile(servers, JSON.stringify({ mcpServers: { docs } }))
    server = await startConsoleServer([{ text: 'There is nothing that I can do.' }], [], {
      RETRAI_MCP_SERVERS: servers,
      RETRAI_MCP_REQUESTS: 'all',
      RETRAI_APPROVALS: JSON.stringify(SERVER_RULES),
    })
  })
  afterAll(async () => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  })

  async function openForm(): Promise<{ page: Page; form: ReturnType<Page['getByRole']> }> {
    const page = await open(server.url)
    await page.getByRole('button', { name: 'Start a run' }).click()
    const form = page.getByRole('dialog', { name: 'Start a run' })
    await unfold(form)
    return { page, form }
  }

  /** Sends the form, and returns the run that it starts. */
  async function started(page: Page) {
    await page.getByRole('button', { name: 'Start the run' }).click()
    await page.waitForURL(/\/runs\/[0-9a-f-]{36}$/)
    const { runs } = server.client()
    return (await runs.get(page.url().split('/').at(-1) ?? ''))._unsafeUnwrap()
  }

  test('gives a run several goals, rules for its calls, and MCP servers', async () => {
    const { page, form } = await openForm()
    await form.getByLabel('Project folder').fill(await server.newProject('whole'))
    await form.getByLabel('Check').fill('false')
    await form.getByLabel('Output contains').fill('done')
    await form.getByLabel('Further goals').fill('[{"check": {"command": "make docs"}}]')
    await form.getByText('A call that runs rm * is denied: Nothing is removed here').waitFor()
    const rules = [
      { command: 'touch *', action: 'ask' },
      { command: 'git push *', action: 'deny' },
    ]
    await form.getByLabel('Rules for calls').fill(JSON.stringify(rules))
    await form.getByLabel('Iteration limit').fill('1')
    await form.getByText('The server offers: docs.').waitFor()
    const mine = { name: 'mine', command: process.execPath, args: [FIXTURE, 'good'] }
    await form.getByLabel('MCP servers').fill(JSON.stringify(['docs', mine]))
    const run = await started(page)
    expect(run.all_of).toEqual([
      {
        goal: 'shell-goal',
        check: { command: 'false', conditions: { exit_code: 0, output_contains: 'done' } },
      },
      { goal: 'shell-goal', check: { command: 'make docs', conditions: { exit_code: 0 } } },
    ])
    expect(run.approvals).toEqual({ run: rules, server: SERVER_RULES, lifted: [] })
    const timeline = page.getByTestId('timeline')
    await timeline.getByText('MCP servers: docs, mine').waitFor()
    await page
      .getByTestId('findings')
      .getByText(/Tools of MCP servers: .*mine \(\d+\)/)
      .waitFor()
  })

  test('chooses the goal that fits the project, and warns of one that does not', async () => {
    const { form } = await openForm()
    await form.getByLabel('Project folder').fill(await server.newProject('misfit'))
    const fitting = form.getByRole('radio', { name: /^npm-test/ })
    await expect.poll(() => fitting.getAttribute('aria-checked')).toBe('true')
    expect(await form.getByRole('radio', { name: /^cargo-test/ }).count()).toBe(0)
    await form.getByRole('button', { name: 'Show other goals' }).click()
    await form.getByRole('radio', { name: /^cargo-test/ }).click()
    const warning = form.getByText('cargo-test does not seem to fit this project. npm-test does.')
    await warning.waitFor()
    await form.getByRole('radio', { name: /^npm-test/ }).click()
    await warning.waitFor({ state: 'detached' })
  })

  test('shows each problem beside the field that has it, also in lists', async () => {
    const { form } = await openForm()
    const send = () => form.getByRole('button', { name: 'Start the run' }).click()
    /** The problem of the field with this label, after the next answer. While the form is sent, it shows none. */
    const problemOf = (label: string) =>
      form.getByLabel(label).and(form.locator('[aria-invalid="true"]'))
    await form.getByRole('radio', { name: /^npm-test/ }).click()
    await form.getByLabel('Project folder').fill('/there/is/no/such/folder')
    await send()
    await problemOf('Project folder').waitFor()
    await form.getByRole('alert').waitFor()
    await form.getByLabel('Project folder').fill(await server.newProject('wrong'))
    // What was said of the other folder is gone.
    await problemOf('Project folder').waitFor({ state: 'detached' })
    await form.getByRole('alert').waitFor({ state: 'detached' })
    await form.getByLabel('Check').fill('make')
    await form.getByLabel('Exit code').fill('3')
    await send()
    await form.getByText('The goal npm-test needs exit code 0').first().waitFor()
    await problemOf('Exit code').waitFor()

    await form.getByLabel('Exit code').fill('')
    await form.getByLabel('Rules for calls').fill('[{"action": "ask"')
    await form.getByLabel('MCP servers').fill('[{"name": "No Name", "url": "ftp://x"}]')
    await send()
    await form.getByText('This is not JSON').waitFor()
    await form.getByText('0.name must have lower-case letters').first().waitFor()
    for (const label of ['Rules for calls', 'MCP servers']) await problemOf(label).waitFor()

    const rule = { action: 'ask', by: 'other_than_starter' }
    await form.getByLabel('Rules for calls').fill(JSON.stringify([rule]))
    await form.getByLabel('MCP servers').fill('')
    await send()
    await form
      .getByRole('region', { name: 'Approvals' })
      .getByText('this server has no tokens')
      .waitFor()
    await problemOf('MCP servers').waitFor({ state: 'detached' })
  })

  test('offers the goal of .retrai.yml, whose rules hold for the run', async () => {
    const project = await server.newProject('with-a-file')
    await writeFile(
      join(project, '.retrai.yml'),
      `all_of: [{check: {command: 'false'}}, npm-test]
approvals: [{tool: bash_exec, action: ask}]
`,
    )
    const { page, form } = await openForm()
    await form.getByLabel('Project folder').fill(project)
    await form.getByRole('radio', { name: /\.retrai\.yml names its goals$/ }).click()
    await form.getByLabel('Iteration limit').fill('1')
    const run = await started(page)
    expect(run.all_of?.map(({ goal }) => goal)).toEqual(['shell-goal', 'npm-test'])
    expect(run.approvals?.run).toEqual([{ tool: 'bash_exec', action: 'ask' }])
  })
})
