import type * as z from 'zod'

/** What is wrong with a value, each issue with its place in it. */
export const issuesText = ({ issues }: z.ZodError): string =>
  issues.map(({ path, message }) => [path.join('.'), message].filter(Boolean).join(': ')).join('; ')
