import { useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { useEffect, useRef } from "react";
import { useCredential } from "../credential";

/**
 * Lives inside GraphiQL and shows nothing. It reads the schema again when another user signs in,
 * and writes the ids that `startChat` and `sendMessage` answered into the variables of the other
 * tabs, so that the example operations run one after the other without copying.
 */
export function Companion() {
  const { introspect, moveTab } = useGraphiQLActions();
  const tabs = useGraphiQL((state) => state.tabs);
  const activeTabIndex = useGraphiQL((state) => state.activeTabIndex);
  const activeTab = tabs[activeTabIndex];

  const credential = useCredential();
  const introspectedAs = useRef(credential);
  useEffect(() => {
    if (introspectedAs.current === credential) return;
    introspectedAs.current = credential;
    void introspect();
  }, [credential, introspect]);

  const response = activeTab?.response;
  const readResponse = useRef(response);
  useEffect(() => {
    if (!response || readResponse.current === response) return;
    readResponse.current = response;
    const ids = idsIn(response);
    if (!ids) return;
    moveTab(
      tabs.map((tab) => {
        const variables = tab === activeTab ? null : withIds(tab.variables, ids);
        return variables ? { ...tab, variables } : tab;
      }),
    );
  }, [response, tabs, activeTab, moveTab]);

  return null;
}

type Ids = { conversationId?: string; messageId?: string };

function idsIn(response: string): Ids | null {
  try {
    const { data } = JSON.parse(response);
    const payload = data?.startChat ?? data?.sendMessage;
    return payload ? { conversationId: payload.conversation?.id, messageId: payload.reply?.id } : null;
  } catch {
    return null;
  }
}

/** The variables with those ids that they already name, at their top or in `input`; else null. */
function withIds(variables: string | null | undefined, ids: Ids): string | null {
  let parsed;
  try {
    parsed = JSON.parse(variables || "{}");
  } catch {
    return null;
  }
  let changed = false;
  for (const holder of [parsed, parsed.input]) {
    for (const [name, id] of Object.entries(ids)) {
      if (id && holder && name in holder && holder[name] !== id) {
        holder[name] = id;
        changed = true;
      }
    }
  }
  return changed ? JSON.stringify(parsed, null, 2) : null;
}
