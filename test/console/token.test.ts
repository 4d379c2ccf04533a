import { afterAll, beforeAll, expect, test } from 'vitest'
import { gallery } from './support/gallery.ts'
import { describeInBrowser, useBrowser } from './support/page.ts'
import { type ConsoleServer, startConsoleServer } from './support/server.ts'

const TOKEN = 'a-token-of-sixteen-characters-or-more'
const { stories, waiting } = gallery(Date.now() / 1000)

describeInBrowser('a server with a token', () => {
  const open = useBrowser(/status of 401/)
  let server: ConsoleServer
  beforeAll(async () => {
    server = await startConsoleServer([], stories, { RETRAI_TOKEN: TOKEN })
  })
  afterAll(() => server.stop())

  test('is asked with it, for pages and live, until the tab is closed', async () => {
    const page = await open(`${server.url}/runs/${waiting}`)
    await page.getByRole('heading', { name: 'This server asks for its token' }).waitFor()
    await page.getByLabel('Token').fill('not the token at all')
    await page.getByRole('button', { name: 'Go on' }).click()
    await page.getByText('The server does not take it.').waitFor()
    await page.getByLabel('Token').fill(TOKEN)
    await page.getByRole('button', { name: 'Go on' }).click()
    await page.getByTestId('connection').getByText('Live', { exact: true }).waitFor()
    await page.getByTestId('decide').waitFor()
    await page.reload()
    await page.getByTestId('decide').waitFor()
    expect(await page.evaluate('localStorage.getItem("retrai.token")')).toBeNull()
  })
})
