import { expect, test } from 'vitest'
import { ROLES } from '../../src/api/auth.ts'
import { faults } from './support/faults.ts'
import { describeInBrowser, signIn, TOKEN, useBrowser, useConsoleServer } from './support/page.ts'
import { sampleRuns } from './support/sample-runs.ts'

const { samples, achieved, waiting } = sampleRuns(Date.now() / 1000)

describeInBrowser('a server with a token', () => {
  const open = useBrowser(/status of 40[13]|Cross-Origin-Opener-Policy header has been ignored/)
  const settings = { RETRAI_TOKEN: TOKEN, RETRAI_CHECKPOINT_SECONDS: '1' }
  const server = useConsoleServer([], samples, settings)

  test('is used for requests and live events until the tab is closed', async () => {
    const page = await open(`${server.url}/runs/${waiting}`)
    await page.getByRole('heading', { name: 'This server needs a token' }).waitFor()
    const input = page.getByRole('textbox', { name: 'Token' })
    await expect.poll(() => page.locator(':focus').getAttribute('type')).toBe('password')
    await page.keyboard.type('not the token at all')
    await page.keyboard.press('Enter')
    await page.getByText('The server does not accept this token.').waitFor()
    // The question stays while the answer is awaited, and with it the focus.
    expect(await page.locator(':focus').getAttribute('type')).toBe('password')
    await input.fill(TOKEN)
    await page.keyboard.press('Enter')
    await page.getByTestId('connection').getByText('Live', { exact: true }).waitFor()
    await page.getByTestId('decide').waitFor()
    await page.reload()
    await page.getByTestId('decide').waitFor()
    expect(await page.evaluate('localStorage.getItem("retrai.token")')).toBeNull()
  })

  test('stays typed while the server cannot be reached', async () => {
    const page = await open(server.url)
    const input = page.getByRole('textbox', { name: 'Token' })
    await page.getByRole('heading', { name: 'This server needs a token' }).waitFor()
    await page.route('**/api/me', (route) => route.abort())
    await signIn(page)
    await page.getByText('The server cannot be reached').waitFor()
    expect(await input.inputValue()).toBe(TOKEN)
    await page.unroute('**/api/me')
    await page.keyboard.press('Enter')
    await page.getByText('in ray-tracer').waitFor()
  })

  test('shows each role what it may do, and is dropped once it is revoked', async () => {
    const { tokens } = server.client(TOKEN)
    for (const role of ROLES) {
      const made = (await tokens.create({ name: `an-${role}`, role }))._unsafeUnwrap()
      const page = await open(`${server.url}/runs/${waiting}`)
      await signIn(page, made.secret)
      await page.getByTestId('connection').getByText('Live', { exact: true }).waitFor()
      expect(await page.getByTestId('who').textContent()).toBe(`an-${role} ${role}`)
      const commands = role === 'operator' || role === 'admin'
      for (const name of ['Start a run', 'Change the run', 'Abort the run']) {
        const buttons = page.getByRole('button', { name, exact: true })
        expect(await buttons.first().isEnabled(), `${role}: ${name}`).toBe(commands)
      }
      const decide = page.getByTestId('decide')
      const approve = decide.getByRole('button', { name: 'Approve' })
      await expect.poll(() => approve.count()).toBe(commands ? 1 : 0)
      const why = `Your role, ${role}, may not do this.`
      await expect.poll(() => decide.getByText(why).count()).toBe(commands ? 0 : 1)
      if (role !== 'viewer') continue
      await page.setViewportSize({ width: 360, height: 740 })
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360)
      await page.keyboard.press('n')
      expect(await page.getByRole('dialog').count()).toBe(0)
      ;(await tokens.revoke(made.id))._unsafeUnwrap()
      await page.getByRole('heading', { name: 'This server needs a token' }).waitFor()
    }
  })

  test('is used from another machine without TLS too, where browsers offer less: messages are sent, and ids copied', async () => {
    const page = await open(`${server.url.replace('127.0.0.1', 'retrai.test')}/runs/${waiting}`)
    await signIn(page)
    await page.getByRole('button', { name: 'Send a message to the agent' }).click()
    const dialog = page.getByRole('dialog', { name: 'Send a message to the agent' })
    await dialog.getByLabel('Message').fill('Look at the ledger first')
    await dialog.getByRole('button', { name: 'Send' }).click()
    await dialog.waitFor({ state: 'detached' })
    await page.getByTestId('timeline').getByText('Look at the ledger first').waitFor()

    await page.getByTitle('Copy the id of the run').click()
    await page.getByText('copied', { exact: true }).waitFor()
    await page.keyboard.press('d')
    await page.keyboard.press('Control+V')
    expect(await page.locator(':focus').inputValue()).toBe(waiting)
    expect(await page.evaluate('isSecureContext')).toBe(false)
  })

  test('a viewer reads that runs wait for a person, and signs out', async () => {
    const { tokens } = server.client(TOKEN)
    const made = (await tokens.create({ name: 'vi', role: 'viewer' }))._unsafeUnwrap()
    const page = await open(server.url)
    await signIn(page, made.secret)
    await page
      .getByRole('link', { name: /waits? for a person/ })
      .first()
      .waitFor()
    await page.getByRole('button', { name: 'Waits for a person', exact: true }).waitFor()
    await page.goto(`${server.url}/runs/${waiting}`)
    await page.getByRole('heading', { name: 'This run waits for a person' }).waitFor()
    expect(await page.getByText(/waits? for you/i).count()).toBe(0)
    expect(await page.getByRole('combobox', { name: 'Tags of the run' }).count()).toBe(0)
    expect(await faults(page)).toEqual([])
    await page.getByRole('button', { name: 'Menu' }).click()
    const items = await page.getByRole('menuitem').allTextContents()
    expect(items).toEqual(['Search', 'Keys', 'API', 'Sign out'])
    await page.getByRole('menuitem', { name: 'Sign out' }).click()
    await page.getByRole('heading', { name: 'This server needs a token' }).waitFor()
    expect(await page.evaluate('sessionStorage.length')).toBe(0)
  })

  test('the pages about the server say who saw what, what was removed, and what signs', async () => {
    const { access, audit, runs } = server.client(TOKEN)
    const body = { seq: 0, pointer: '/system_prompt', reason: 'It names a customer' }
    ;(await runs.redact(achieved, body))._unsafeUnwrap()
    const page = await open(`${server.url}/runs/${achieved}`)
    await signIn(page)
    await expect
      .poll(() =>
        access
          .list({ run_id: achieved, kinds: ['run_read'] })
          .unwrapOr({ entries: [], next: null })
          .then(({ entries }) => entries.length),
      )
      .toBeGreaterThan(0)
    await page.getByRole('link', { name: 'Who has seen this run' }).click()
    await page.getByRole('heading', { name: 'Who has seen this run' }).waitFor()
    await page.getByRole('cell', { name: 'Read the run' }).first().waitFor()
    expect(await faults(page)).toEqual([])
    const signed = () => audit.checkpoints({ limit: 1 }).unwrapOr([])
    await expect.poll(async () => (await signed()).length).toBe(1)
    for (const [name, words] of [
      ['Access log', 'Listed runs'],
      ['Redactions', 'It names a customer'],
      ['Checkpoints', 'No witness follows this server.'],
      ['Keys', 'in use'],
    ] as const) {
      await page.getByRole('button', { name: 'Menu' }).click()
      await page.getByRole('menuitem', { name }).click()
      await page.getByRole('heading', { name, exact: true }).waitFor()
      await page.getByText(words).first().waitFor()
      if (name === 'Checkpoints') await page.getByRole('cell', { name: '0', exact: true }).waitFor()
      expect(await faults(page), name).toEqual([])
    }
  })
})
