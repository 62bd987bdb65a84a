//! What the pages of links say, in the languages that they know. Each has every text.

/// All texts of one language.
#[derive(Debug)]
pub struct Texts {
    /// Its tag.
    pub tag: &'static str,
    pub unknown: [&'static str; 2],
    pub gone: [&'static str; 2],
    pub expired: [&'static str; 2],
    pub disabled: [&'static str; 2],
    pub blocked: [&'static str; 2],
    /// With `{}` for the time.
    pub not_yet: [&'static str; 2],
    pub unavailable: [&'static str; 2],
    pub password: [&'static str; 2],
    pub password_field: &'static str,
    pub password_wrong: &'static str,
    pub open: &'static str,
    pub preview: [&'static str; 2],
    pub leads_to: &'static str,
    pub insecure: &'static str,
    pub varies: &'static str,
    pub hidden: &'static str,
    pub created: &'static str,
    pub go_on: &'static str,
    pub report: &'static str,
    pub report_what: &'static str,
    /// Phishing, malware, spam, illegal, other.
    pub reasons: [&'static str; 5],
    pub comment: &'static str,
    pub send: &'static str,
    pub thanks: &'static str,
}

/// The languages; the first one is for everybody else.
pub const ALL: &[Texts] = &[
    Texts {
        tag: "en",
        unknown: ["There is no such link", "Perhaps a letter is missing or in the wrong case."],
        gone: ["This link was deleted", "Whoever made it has taken it away for good."],
        expired: ["This link has expired", "Its time is over, or it was followed as often as it may be."],
        disabled: ["This link is switched off", "Whoever made it has switched it off for now."],
        blocked: ["This link is blocked", "It was found to do harm, so it leads nowhere any more."],
        not_yet: ["This link is not open yet", "It opens on {} (UTC)."],
        unavailable: ["One moment, please", "This link cannot be looked up right now. Please try again in a moment."],
        password: ["This link is protected", "Enter the password that you were given along with it."],
        password_field: "Password",
        password_wrong: "That was not the password.",
        open: "Open",
        preview: ["Where this link leads", "Look before you go on."],
        leads_to: "Leads to",
        insecure: "The connection to this page is not encrypted.",
        varies: "Some visitors are led elsewhere, by device, language, country or chance.",
        hidden: "It is protected by a password, which is asked for first.",
        created: "Made on",
        go_on: "Go on",
        report: "Report this link",
        report_what: "What is wrong with it?",
        reasons: ["It steals passwords or data", "Harmful software", "Spam", "Illegal content", "Something else"],
        comment: "Anything that we should know (optional)",
        send: "Send report",
        thanks: "Thank you. Somebody will look at it.",
    },
    Texts {
        tag: "de",
        unknown: [
            "Diesen Link gibt es nicht",
            "Vielleicht fehlt ein Buchstabe, oder Groß- und Kleinschreibung stimmt nicht.",
        ],
        gone: ["Dieser Link wurde gelöscht", "Wer ihn angelegt hat, hat ihn endgültig entfernt."],
        expired: ["Dieser Link ist abgelaufen", "Seine Zeit ist um, oder er wurde so oft benutzt, wie er darf."],
        disabled: ["Dieser Link ist ausgeschaltet", "Wer ihn angelegt hat, hat ihn vorerst ausgeschaltet."],
        blocked: ["Dieser Link ist gesperrt", "Er hat sich als schädlich erwiesen und führt nirgends mehr hin."],
        not_yet: ["Dieser Link ist noch nicht offen", "Er öffnet am {} (UTC)."],
        unavailable: [
            "Einen Moment bitte",
            "Der Link lässt sich gerade nicht nachschlagen. Bitte gleich noch einmal versuchen.",
        ],
        password: ["Dieser Link ist geschützt", "Bitte das Passwort eingeben, das dazu mitgeteilt wurde."],
        password_field: "Passwort",
        password_wrong: "Das war nicht das Passwort.",
        open: "Öffnen",
        preview: ["Wohin dieser Link führt", "Erst sehen, dann weitergehen."],
        leads_to: "Führt zu",
        insecure: "Die Verbindung zu dieser Seite ist nicht verschlüsselt.",
        varies: "Manche werden anderswohin geleitet, nach Gerät, Sprache, Land oder Zufall.",
        hidden: "Er ist durch ein Passwort geschützt, das zuerst abgefragt wird.",
        created: "Angelegt am",
        go_on: "Weiter",
        report: "Diesen Link melden",
        report_what: "Was stimmt damit nicht?",
        reasons: ["Stiehlt Passwörter oder Daten", "Schadsoftware", "Spam", "Rechtswidriger Inhalt", "Etwas anderes"],
        comment: "Was wir noch wissen sollten (freiwillig)",
        send: "Meldung senden",
        thanks: "Danke. Jemand sieht es sich an.",
    },
    Texts {
        tag: "fr",
        unknown: ["Ce lien n’existe pas", "Il manque peut-être une lettre, ou une majuscule est de trop."],
        gone: ["Ce lien a été supprimé", "Son auteur l’a retiré définitivement."],
        expired: ["Ce lien a expiré", "Sa durée est écoulée, ou il a été suivi autant de fois que permis."],
        disabled: ["Ce lien est désactivé", "Son auteur l’a désactivé pour le moment."],
        blocked: ["Ce lien est bloqué", "Il a été jugé nuisible et ne mène plus nulle part."],
        not_yet: ["Ce lien n’est pas encore ouvert", "Il ouvrira le {} (UTC)."],
        unavailable: [
            "Un instant, s’il vous plaît",
            "Ce lien ne peut pas être consulté pour le moment. Réessayez dans un instant.",
        ],
        password: ["Ce lien est protégé", "Saisissez le mot de passe qui vous a été donné avec lui."],
        password_field: "Mot de passe",
        password_wrong: "Ce n’est pas le bon mot de passe.",
        open: "Ouvrir",
        preview: ["Où mène ce lien", "Regardez avant de continuer."],
        leads_to: "Mène à",
        insecure: "La connexion à cette page n’est pas chiffrée.",
        varies: "Certains visiteurs sont menés ailleurs, selon l’appareil, la langue, le pays ou le hasard.",
        hidden: "Il est protégé par un mot de passe, demandé d’abord.",
        created: "Créé le",
        go_on: "Continuer",
        report: "Signaler ce lien",
        report_what: "Quel est le problème ?",
        reasons: [
            "Vol de mots de passe ou de données",
            "Logiciel malveillant",
            "Spam",
            "Contenu illégal",
            "Autre chose",
        ],
        comment: "Ce que nous devrions savoir (facultatif)",
        send: "Envoyer",
        thanks: "Merci. Quelqu’un va l’examiner.",
    },
    Texts {
        tag: "es",
        unknown: ["Este enlace no existe", "Quizá falta una letra o hay una mayúscula de más."],
        gone: ["Este enlace fue eliminado", "Quien lo creó lo ha retirado para siempre."],
        expired: ["Este enlace ha caducado", "Su plazo terminó o ya se siguió tantas veces como se permite."],
        disabled: ["Este enlace está desactivado", "Quien lo creó lo ha desactivado por ahora."],
        blocked: ["Este enlace está bloqueado", "Resultó ser dañino y ya no lleva a ninguna parte."],
        not_yet: ["Este enlace aún no está abierto", "Se abre el {} (UTC)."],
        unavailable: [
            "Un momento, por favor",
            "Ahora mismo no se puede consultar este enlace. Inténtelo de nuevo en un momento.",
        ],
        password: ["Este enlace está protegido", "Introduzca la contraseña que recibió con él."],
        password_field: "Contraseña",
        password_wrong: "Esa no era la contraseña.",
        open: "Abrir",
        preview: ["Adónde lleva este enlace", "Mire antes de seguir."],
        leads_to: "Lleva a",
        insecure: "La conexión con esta página no está cifrada.",
        varies: "Algunos visitantes van a otro sitio, según dispositivo, idioma, país o azar.",
        hidden: "Está protegido por una contraseña, que se pide primero.",
        created: "Creado el",
        go_on: "Continuar",
        report: "Denunciar este enlace",
        report_what: "¿Qué tiene de malo?",
        reasons: ["Roba contraseñas o datos", "Software dañino", "Spam", "Contenido ilegal", "Otra cosa"],
        comment: "Lo que debamos saber (opcional)",
        send: "Enviar",
        thanks: "Gracias. Alguien lo revisará.",
    },
    Texts {
        tag: "pt",
        unknown: ["Este link não existe", "Talvez falte uma letra ou haja uma maiúscula errada."],
        gone: ["Este link foi apagado", "Quem o criou retirou-o de vez."],
        expired: ["Este link expirou", "O prazo acabou ou já foi seguido tantas vezes quanto podia."],
        disabled: ["Este link está desligado", "Quem o criou desligou-o por enquanto."],
        blocked: ["Este link está bloqueado", "Revelou-se nocivo e já não leva a lado nenhum."],
        not_yet: ["Este link ainda não está aberto", "Abre em {} (UTC)."],
        unavailable: ["Um momento, por favor", "Este link não pode ser consultado agora. Tente de novo daqui a pouco."],
        password: ["Este link está protegido", "Digite a senha que recebeu com ele."],
        password_field: "Senha",
        password_wrong: "Essa não era a senha.",
        open: "Abrir",
        preview: ["Aonde leva este link", "Veja antes de continuar."],
        leads_to: "Leva a",
        insecure: "A conexão com esta página não é cifrada.",
        varies: "Alguns visitantes são levados a outro lugar, por dispositivo, idioma, país ou acaso.",
        hidden: "Está protegido por uma senha, que é pedida primeiro.",
        created: "Criado em",
        go_on: "Continuar",
        report: "Denunciar este link",
        report_what: "O que há de errado?",
        reasons: ["Rouba senhas ou dados", "Software nocivo", "Spam", "Conteúdo ilegal", "Outra coisa"],
        comment: "O que devemos saber (opcional)",
        send: "Enviar",
        thanks: "Obrigado. Alguém vai verificar.",
    },
    Texts {
        tag: "ja",
        unknown: ["このリンクは存在しません", "文字の抜けや大文字・小文字の違いをご確認ください。"],
        gone: ["このリンクは削除されました", "作成者が完全に削除しました。"],
        expired: ["このリンクの有効期限が切れました", "期限が過ぎたか、利用回数の上限に達しました。"],
        disabled: ["このリンクは停止中です", "作成者が一時的に停止しています。"],
        blocked: ["このリンクはブロックされています", "有害と判断されたため、利用できません。"],
        not_yet: ["このリンクはまだ公開されていません", "{}（UTC）に公開されます。"],
        unavailable: ["少々お待ちください", "現在このリンクを確認できません。しばらくしてからもう一度お試しください。"],
        password: ["このリンクは保護されています", "リンクと一緒に受け取ったパスワードを入力してください。"],
        password_field: "パスワード",
        password_wrong: "パスワードが違います。",
        open: "開く",
        preview: ["このリンクの行き先", "進む前にご確認ください。"],
        leads_to: "行き先",
        insecure: "このページへの接続は暗号化されません。",
        varies: "端末、言語、国、または抽選により別のページへ移動することがあります。",
        hidden: "パスワードで保護されています。先に入力が必要です。",
        created: "作成日",
        go_on: "進む",
        report: "このリンクを報告する",
        report_what: "どのような問題ですか？",
        reasons: ["パスワードや情報を盗む", "有害なソフトウェア", "スパム", "違法な内容", "その他"],
        comment: "補足（任意）",
        send: "報告を送る",
        thanks: "ありがとうございます。担当者が確認します。",
    },
    Texts {
        tag: "zh",
        unknown: ["没有这个链接", "可能少了一个字母，或大小写不对。"],
        gone: ["此链接已被删除", "创建者已将其永久移除。"],
        expired: ["此链接已过期", "有效期已过，或访问次数已达上限。"],
        disabled: ["此链接已停用", "创建者暂时停用了它。"],
        blocked: ["此链接已被屏蔽", "它被认定为有害，不再指向任何页面。"],
        not_yet: ["此链接尚未开放", "将于 {}（UTC）开放。"],
        unavailable: ["请稍候", "暂时无法查询此链接，请稍后再试。"],
        password: ["此链接受密码保护", "请输入随链接一起收到的密码。"],
        password_field: "密码",
        password_wrong: "密码不正确。",
        open: "打开",
        preview: ["此链接指向何处", "继续之前请先确认。"],
        leads_to: "指向",
        insecure: "与该页面的连接未加密。",
        varies: "部分访客会因设备、语言、国家或随机分配而前往其他页面。",
        hidden: "受密码保护，需先输入密码。",
        created: "创建于",
        go_on: "继续",
        report: "举报此链接",
        report_what: "有什么问题？",
        reasons: ["窃取密码或数据", "恶意软件", "垃圾信息", "违法内容", "其他"],
        comment: "补充说明（可选）",
        send: "提交举报",
        thanks: "谢谢，我们会进行核查。",
    },
];

/// The texts for an `Accept-Language` header: the first language by preference that there is.
pub fn for_header(header: &str) -> &'static Texts {
    let mut best: Option<(u32, &'static Texts)> = None;
    for part in header.split(',').take(20) {
        let mut pieces = part.split(';').map(str::trim);
        let tag = pieces.next().unwrap_or_default();
        let main = tag.split('-').next().unwrap_or_default();
        let Some(texts) = ALL.iter().find(|texts| texts.tag.eq_ignore_ascii_case(main)) else { continue };
        let quality = pieces.find_map(|piece| piece.strip_prefix("q=")).map_or(1_000, thousandths);
        if quality > 0 && best.is_none_or(|(other, _)| quality > other) {
            best = Some((quality, texts));
        }
    }
    // The list is not empty.
    best.map_or(&ALL[0], |(_, texts)| texts)
}

fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let padded = format!("{fraction:0<3}");
    let fraction = padded.get(..3).and_then(|digits| digits.parse::<u32>().ok()).unwrap_or(0);
    (whole.parse::<u32>().unwrap_or(0).min(1) * 1_000 + fraction).min(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_language_that_there_is() {
        for (header, tag) in [
            ("", "en"),
            ("de-AT,de;q=0.9", "de"),
            ("tlh, fr;q=0.5, en;q=0.4", "fr"),
            ("en;q=0.1, JA", "ja"),
            ("zh-Hant-TW", "zh"),
            ("es;q=0", "en"),
            ("q=1;;,,,", "en"),
        ] {
            assert_eq!(for_header(header).tag, tag, "{header}");
        }
    }

    #[test]
    fn every_language_has_its_own_words() {
        for texts in ALL {
            assert!(texts.not_yet[1].contains("{}"), "{}", texts.tag);
            for other in ALL.iter().filter(|other| other.tag != texts.tag) {
                assert_ne!(texts.unknown, other.unknown);
                assert_ne!(texts.password, other.password);
            }
        }
    }
}
