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

/** What axe finds that is serious or worse, in words. */
export async function faults(page: Page): Promise<string[]> {
  await page.evaluate(axe.source)
  const run = `axe.run({ resultTypes: ['violations'] })`
  const { violations } = Report.parse(await page.evaluate(run))
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 160)} ${failureSummary}`),
    )
}
