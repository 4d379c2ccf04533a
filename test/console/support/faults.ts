import axe from 'axe-core'
import type { Page } from 'playwright-core'
import * as z from 'zod'

const Report = z.object({
  violations: z.array(
    z.object({
      id: z.string(),
      impact: z.string().nullable(),
      nodes: z.array(z.object({ html: z.string(), failureSummary: z.string().optional() })),
    }),
  ),
})

/** The rules that depend on the colour scheme. */
const COLOURS = ['color-contrast', 'link-in-text-block']

/** What axe finds that is serious or worse, in words. @param what `colours`: only what depends on the colour scheme */
export async function faults(page: Page, what: 'all' | 'colours' = 'all'): Promise<string[]> {
  if (!(await page.evaluate(`'axe' in window`))) await page.evaluate(axe.source)
  const only = what === 'all' ? {} : { runOnly: { type: 'rule', values: COLOURS } }
  const run = `axe.run(${JSON.stringify({ resultTypes: ['violations'], ...only })})`
  const { violations } = Report.parse(await page.evaluate(run))
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 160)} ${failureSummary}`),
    )
}
