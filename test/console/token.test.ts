import { expect, test } from 'vitest'
import { ROLES } from '../../src/api/auth.ts'
import { createClient } from '../../src/client/index.ts'
import { describeInBrowser, signIn, TOKEN, useBrowser, useConsoleServer } from './support/page.ts'
import { sampleRuns } from './support/sample-runs.ts'

const { samples, waiting } = sampleRuns(Date.now() / 1000)

describeInBrowser('a server with a token', () => {
  const open = useBrowser(/status of 401|Cross-Origin-Opener-Policy header has been ignored/)
  const server = useConsoleServer([], samples, { RETRAI_TOKEN: TOKEN })

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

  test('shows each role what it may do, and is dropped once it is revoked', async () => {
    const { tokens } = createClient({ baseUrl: server.url, token: TOKEN })
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
})
