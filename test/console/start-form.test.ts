import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createClient } from '../../src/client/index.ts'
import { FIXTURE } from '../agent/mcp/support.ts'
import { describeInBrowser, useBrowser } from './support/page.ts'
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
    return { page, form: page.getByRole('dialog', { name: 'Start a run' }) }
  }

  test('gives a run several goals with their options, rules for its calls, and MCP servers', async () => {
    const { page, form } = await openForm()
    await form.getByRole('radio', { name: /^perf-check/ }).click()
    await form.getByLabel('Project folder').fill(await server.newProject('whole'))
    await form.getByLabel('Check').fill('false')
    await form.getByLabel('Output contains').fill('done')
    await form.getByLabel('Max ms').fill('900')
    await form.getByText('How often the command runs. Without it: 5').waitFor()

    await form.getByRole('button', { name: 'Add a goal that must hold too' }).click()
    const second = form.getByRole('group', { name: 'Goal 2' })
    await second.getByLabel('Check').fill('make docs')

    await form.getByText('A call that runs rm * is denied: Nothing is removed here').waitFor()
    for (const command of ['git push *', 'touch *']) {
      await form.getByRole('button', { name: 'Add a rule' }).click()
      const rule = form.getByRole('group', { name: /^Rule/ }).last()
      await rule.getByLabel('Command').fill(command)
    }
    await form.getByRole('group', { name: 'Rule 1' }).getByRole('combobox').click()
    await page.getByRole('option', { name: 'is denied' }).click()
    await form.getByRole('button', { name: 'Move Rule 2 up' }).click()
    await form.getByLabel('Iteration limit').fill('1')
    await form.getByRole('combobox', { name: 'Servers of the configuration' }).press('ArrowDown')
    await page.getByRole('option', { name: 'docs' }).click()
    await page.keyboard.press('Tab')
    await form.getByRole('button', { name: 'Add an MCP server for this run' }).click()
    const own = form.getByRole('group', { name: 'MCP server 1' })
    await own.getByLabel('Name').fill('mine')
    await own.getByLabel('Program').fill(process.execPath)
    await own.getByLabel('Arguments').fill(`${FIXTURE}\ngood`)
    await form.getByRole('button', { name: 'Start the run' }).click()

    await page.waitForURL(/\/runs\/[0-9a-f-]{36}$/)
    const { runs } = createClient({ baseUrl: server.url })
    const run = (await runs.get(page.url().split('/').at(-1) ?? ''))._unsafeUnwrap()
    expect(run.all_of).toEqual([
      {
        goal: 'perf-check',
        check: { command: 'false', conditions: { exit_code: 0, output_contains: 'done' } },
        goal_options: { max_ms: 900 },
      },
      { goal: 'shell-goal', check: { command: 'make docs', conditions: { exit_code: 0 } } },
    ])
    expect(run.approvals).toEqual({
      run: [
        { command: 'touch *', action: 'ask' },
        { command: 'git push *', action: 'deny' },
      ],
      server: SERVER_RULES,
      lifted: [],
    })
    const timeline = page.getByTestId('timeline')
    await timeline.getByText('MCP servers: docs, mine').waitFor()
    await page
      .getByTestId('findings')
      .getByText(/Tools of MCP servers: .*mine \(\d+\)/)
      .waitFor()
  })

  test('warns of a goal that does not fit the project', async () => {
    const { form } = await openForm()
    await form.getByLabel('Project folder').fill(await server.newProject('misfit'))
    await form.getByRole('radio', { name: /^cargo-test/ }).click()
    const warning = form.getByText('cargo-test does not seem to fit this project. npm-test does.')
    await warning.waitFor()
    await form.getByRole('radio', { name: /^npm-test/ }).click()
    await warning.waitFor({ state: 'detached' })
  })

  test('shows each problem beside the field that has it, also in lists', async () => {
    const { page, form } = await openForm()
    const isInvalid = (label: string) => form.getByLabel(label).first().getAttribute('aria-invalid')
    /** Before the answer, the form may show the problems of an earlier one. */
    const submit = async () => {
      const answered = page.waitForResponse(
        (answer) => answer.request().method() === 'POST' && answer.url().endsWith('/api/runs'),
      )
      await form.getByRole('button', { name: 'Start the run' }).click()
      await answered
    }
    await form.getByRole('radio', { name: /^perf-check/ }).click()
    await form.getByLabel('Project folder').fill(await server.newProject('wrong'))
    await submit()
    await form
      .getByText('The goal perf-check needs a check with the command to run.')
      .first()
      .waitFor()
    expect([await isInvalid('Check'), await isInvalid('Max ms')]).toEqual(['true', 'true'])

    await form.getByRole('radio', { name: /^api-test/ }).click()
    await form.getByRole('button', { name: 'Add to requests (at least one)' }).click()
    await form.getByLabel('Path').first().fill('no slash')
    await form.getByLabel('Url').fill('ftp://x')
    await form.getByRole('button', { name: 'Add a rule' }).click()
    await form.getByLabel('Not by the person who starts the run').check()
    const command = form.getByRole('group', { name: 'Rule 1' }).getByLabel('Command')
    await command.fill('x'.repeat(300))
    for (const name of ['docs', 'No Name']) {
      await form.getByRole('button', { name: 'Add an MCP server for this run' }).click()
      await form
        .getByRole('group', { name: /^MCP server/ })
        .last()
        .getByLabel('Name')
        .fill(name)
    }
    const [first, second] = [1, 2].map((n) => form.getByRole('group', { name: `MCP server ${n}` }))
    await second?.getByRole('combobox').click()
    await page.getByRole('option', { name: 'A URL' }).click()
    await second?.getByLabel('URL').fill('ftp://x')
    await submit()
    await second?.getByText('Must have lower-case letters').waitFor()
    await second?.getByText('Must be an http:// or https:// URL').waitFor()
    await first?.getByText('Must not be empty').waitFor()
    await first?.getByLabel('Program').fill('node')
    await form.getByRole('button', { name: 'Remove MCP server 2' }).click()
    await submit()
    await first?.getByText('is an MCP server of the configuration').waitFor()
    await form.getByRole('button', { name: 'Remove MCP server 1' }).click()
    await submit()
    await form.getByText('must begin with / and have no spaces').first().waitFor()
    for (const label of ['Path', 'Url', 'Command']) {
      expect(await isInvalid(label), label).toBe('true')
    }

    await command.fill('git push *')
    await form.getByRole('button', { name: 'Remove Request 1' }).click()
    await form.getByLabel('Url').fill('')
    await form.getByRole('radio', { name: /^npm-test/ }).click()
    await submit()
    await form
      .getByRole('region', { name: 'Approvals' })
      .getByText('this server has no tokens')
      .waitFor()
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
    await form.getByRole('button', { name: 'Start the run' }).click()
    await page.waitForURL(/\/runs\/[0-9a-f-]{36}$/)
    const { runs } = createClient({ baseUrl: server.url })
    const run = (await runs.get(page.url().split('/').at(-1) ?? ''))._unsafeUnwrap()
    expect(run.all_of?.map(({ goal }) => goal)).toEqual(['shell-goal', 'npm-test'])
    expect(run.approvals?.run).toEqual([{ tool: 'bash_exec', action: 'ask' }])
  })
})
