import type { ReactNode } from 'react'
import Markdown from 'react-markdown'
import remarkGfm from 'remark-gfm'
import { isSimple, outsideAddress, visible } from '../ui/foreign-text.ts'
import classes from './rows.module.css'

const PLUGINS = [remarkGfm]
/** What a model writes must not make the browser ask anybody for anything. */
const WITHOUT = ['img']
const COMPONENTS = { a: OutsideLink }

/** What a model has said: as Markdown, or as plain text if Markdown would block the page. */
export function Words({ text }: { readonly text: string }) {
  const seen = visible(text)
  if (!isSimple(seen)) return <div className={`${classes.words} ${classes.plain}`}>{seen}</div>
  return (
    <div className={classes.words}>
      <Markdown remarkPlugins={PLUGINS} disallowedElements={WITHOUT} components={COMPONENTS}>
        {seen}
      </Markdown>
    </div>
  )
}

type LinkProps = { readonly href?: string | undefined; readonly children?: ReactNode }

/** The text of a link may say anything: where it leads is shown beside the pointer. */
function OutsideLink({ href, children }: LinkProps) {
  const address = outsideAddress(href)
  if (address === null) return children
  return (
    <a href={address} title={address} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  )
}
