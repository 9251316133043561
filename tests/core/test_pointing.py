"""Pointing: questions that only a reader of the text can ask, and their near misses."""

import pytest

from aloft.prompts.languages import LANGUAGES
from aloft.text.self_contained import points_at_text

POINTING = {
    "en": (
        "What does the author say about berths?",
        "According to the passage, who pilots the ships?",
        "Which two harbours are mentioned in the text?",
        "What is the main idea of this paragraph?",
        "How many patients took part in the study?",
        "What is the purpose of the document?",
        "What does the article suggest about the tides?",
        "Who, in the given context, signs the claim?",
        "Which method is described above?",
        "What is the authors' statement on tides?",
        "What is the result of the above reaction?",
        "What is the limitation of this pilot study?",
        "What is the most likely cause of this?",
        "Which term in the passage below means harbour?",
        "What is the text's main claim?",
        "What does the last sentence imply?",
        "What is the main topic?",
    ),
    "ar": (
        "ماذا يقول الكاتب عن الميناء؟",
        "وفقًا للنص، من يقود السفن؟",
        "ما الفكرة الرئيسية في هذه الفقرة؟",
        "ما المدينتان المذكورتان في النص؟",
        "كم عدد الأرصفة بحسب المقال؟",
        "ما موضوع هذا النص؟",
        "كم رصيفًا ورد في الفقرة أعلاه؟",
        "من هو القبطان المذكور أعلاه؟",
        "ما عنوان المقال؟",
        "ماذا يذكر النص عن الميناء؟",
        "ماذا تناقش الفقرة؟",
    ),
    "de": (
        "Was sagt der Autor über den Hafen?",
        "Wer lotst laut dem Text die Schiffe?",
        "Worum geht es in diesem Abschnitt?",
        "Welche zwei Häfen werden im Text genannt?",
        "Was ist das Ziel der Studie?",
        "Wie viele Liegeplätze werden im Artikel erwähnt?",
        "Welche Gründe führt der Verfasser an?",
        "Wie viele Häfen nennt der vorliegende Text?",
        "Welche Methode wird oben beschrieben?",
    ),
    "el": (
        "Τι λέει ο συγγραφέας για το λιμάνι;",
        "Σύμφωνα με το κείμενο, ποιος οδηγεί τα πλοία;",
        "Ποιο είναι το θέμα αυτού του άρθρου;",
        "Ποια δύο λιμάνια αναφέρονται στο κείμενο;",
        "Τι περιγράφει το απόσπασμα;",
        "Ποιος είναι ο σκοπός του άρθρου;",
        "Ποια είναι η μέθοδος που αναφέρεται παραπάνω;",
    ),
    "es": (
        "¿Qué dice el autor sobre el puerto?",
        "Según el texto, ¿quién guía los barcos?",
        "¿Cuál es la idea principal de este párrafo?",
        "¿Qué dos puertos se mencionan en el texto?",
        "¿Cuál es el objetivo del estudio?",
        "¿De qué trata el artículo?",
        "De acuerdo al texto, ¿cuántos muelles hay?",
        "¿Por qué el autor menciona el puerto?",
        "¿Quién es el piloto mencionado anteriormente?",
        "¿Cuál es la opinión del autor?",
    ),
    "fi": (
        "Mitä kirjoittaja sanoo satamasta?",
        "Kuka luotsaa laivoja tekstin mukaan?",
        "Mitkä kaksi satamaa tekstissä mainitaan?",
        "Mikä on tämän artikkelin aihe?",
        "Mitä artikkeli kertoo vuorovedestä?",
        "Mitä väittää kirjoittaja satamasta?",
        "Mikä on tekstin pääajatus?",
        "Mikä on edellä mainittu satama?",
    ),
    "fr": (
        "Que dit l'auteur au sujet du port ?",
        "Selon le texte, qui pilote les navires ?",
        "Quelle est l'idée principale de ce paragraphe ?",
        "Quels sont les deux ports mentionnés dans le texte ?",
        "Quel est le sujet de cet article ?",
        "D’après le passage, combien y a-t-il de quais ?",
        "Pourquoi l'auteur critique-t-il la loi ?",
        "Quelle est l'opinion exprimée dans l'article ?",
        "Que montre l'exemple donné dans le document ?",
        "Pourquoi l'auteur mentionne les marées ?",
        "Quel est le titre de l'article ?",
        "Quelle est la méthode décrite ci-dessus ?",
        "Quels arguments sont avancés par l'auteur ?",
    ),
    "hi": (
        "लेखक ने बंदरगाह के बारे में क्या कहा है?",
        "पाठ के अनुसार जहाज़ों को कौन चलाता है?",
        "इस अनुच्छेद का मुख्य विचार क्या है?",
        "लेख में किन दो बंदरगाहों का उल्लेख है?",
        "दिए गए गद्यांश में कितने घाट बताए गए हैं?",
        "बंदरगाह का कौन सा नाम लेख में बताया गया है?",
        "कानून के बारे में लेखक का क्या मत है?",
        "बंदरगाह पर लेखक क्या मानते हैं?",
        "ऊपर वर्णित विधि क्या है?",
    ),
    "it": (
        "Che cosa dice l'autore sul porto?",
        "Secondo il testo, chi pilota le navi?",
        "Qual è l'idea principale di questo paragrafo?",
        "Quali due porti sono menzionati nel testo?",
        "Di che cosa parla l'articolo?",
        "Qual è lo scopo dello studio?",
        "In base al testo, quanti moli ha il porto?",
        "Qual è l'opinione dell'autore?",
        "Perché l'autore descrive la tempesta?",
    ),
    "ja": (
        "筆者は港について何と述べていますか？",
        "本文によると、船を案内するのは誰ですか？",
        "この文章の主題は何ですか？",
        "文中で挙げられている二つの港はどこですか？",
        "この記事は何について書かれていますか？",
        "なぜ著者は法律に反対しているのか。",
        "本論文の目的は何ですか？",
        "本書で扱われている港はどこですか？",
        "上記の文章で述べられている港はどこですか？",
        "記事のタイトルは何ですか？",
    ),
    "ko": (
        "글쓴이는 항구에 대해 무엇이라고 말하는가?",
        "본문에 따르면 누가 배를 안내하는가?",
        "이 글의 주제는 무엇인가?",
        "위 지문에서 언급된 두 항구는 어디인가?",
        "기사에 따르면 부두는 몇 개인가?",
        "저자는 왜 그 법에 반대하는가?",
        "본 논문의 목적은 무엇인가?",
        "글에서 언급된 항구는 어디인가?",
        "위에서 언급된 방법은 무엇인가?",
    ),
    "nl": (
        "Wat zegt de auteur over de haven?",
        "Wie loodst volgens de tekst de schepen?",
        "Wat is het onderwerp van dit artikel?",
        "Welke twee havens worden in de tekst genoemd?",
        "Waar gaat deze alinea over?",
        "Wat is het doel van de studie?",
        "Welke prijs staat er in het artikel?",
        "Wat is de hierboven beschreven methode?",
    ),
    "no": (
        "Hva sier forfatteren om havnen?",
        "Hvem loser skipene ifølge teksten?",
        "Hva er hovedpoenget i dette avsnittet?",
        "Hvilke to havner er nevnt i teksten?",
        "Hva handler artikkelen om?",
        "Hva er formålet med studien?",
        "Hva er artikkelens hovedpoeng?",
        "Hvilken metode er beskrevet ovenfor?",
    ),
    "pl": (
        "Co autor mówi o porcie?",
        "Kto według tekstu pilotuje statki?",
        "Jaka jest główna myśl tego akapitu?",
        "Które dwa porty wymieniono w tekście?",
        "Czego dotyczy artykuł?",
        "Jaki jest cel dokumentu?",
        "Jaka jest wyżej opisana metoda?",
    ),
    "pt": (
        "O que diz o autor sobre o porto?",
        "Segundo o texto, quem pilota os navios?",
        "Qual é a ideia principal deste parágrafo?",
        "Quais são os dois portos mencionados no texto?",
        "De que trata o artigo?",
        "De acordo com a passagem, quantos cais existem?",
        "Qual é o tema desta passagem?",
        "Por que o autor menciona as marés?",
        "Qual é o objetivo do estudo?",
        "Qual é a opinião do autor?",
    ),
    "ro": (
        "Ce spune autorul despre port?",
        "Conform textului, cine pilotează navele?",
        "Care este ideea principală a acestui paragraf?",
        "Ce două porturi sunt menționate în text?",
        "Despre ce vorbește articolul?",
        "Potrivit articolului, câte dane există?",
        "Câte porturi apar în textul de mai sus?",
        "De ce autorul descrie furtuna?",
        "Care este scopul articolului?",
    ),
    "ru": (
        "Что говорит автор о порте?",
        "Кто, согласно тексту, проводит суда?",
        "Какова основная мысль этого абзаца?",
        "Какие два порта упоминаются в тексте?",
        "О чём рассказывает статья?",
        "Почему автор критикует закон?",
        "Что, по мнению автора, важнее всего?",
        "Какая гавань указана в статье?",
        "Какие причины автор приводит?",
        "Какова тема статьи?",
        "Какой метод описан выше?",
        "Как называется выше описанный метод?",
    ),
    "sw": (
        "Mwandishi anasema nini kuhusu bandari?",
        "Kulingana na kifungu, nani huongoza meli?",
        "Mada ya makala hii ni ipi?",
        "Ni bandari gani mbili zilizotajwa katika maandishi?",
        "Kwa mujibu wa makala, kuna gati ngapi?",
        "Njia iliyotajwa hapo juu ni ipi?",
    ),
    "th": (
        "ผู้เขียนกล่าวถึงท่าเรือว่าอย่างไร",
        "ตามข้อความ ใครเป็นผู้นำร่องเรือ",
        "ใจความสำคัญของบทความนี้คืออะไร",
        "ท่าเรือสองแห่งที่กล่าวถึงในบทความคือที่ใด",
        "ย่อหน้านี้เกี่ยวกับอะไร",
        "จุดประสงค์ของบทความคืออะไร",
        "ข้อใดคือความเห็นของผู้เขียน",
    ),
    "tr": (
        "Yazar liman hakkında ne söylüyor?",
        "Metne göre gemilere kim kılavuzluk eder?",
        "Bu paragrafın ana fikri nedir?",
        "Metinde hangi iki liman anlatılmaktadır?",
        "Makalenin konusu nedir?",
        "Metin, Aberley'nin kaç rıhtımı olduğunu söylemektedir?",
        "Yazarın amacı nedir?",
        "Yukarıda belirtilen yöntem nedir?",
    ),
    "vi": (
        "Tác giả nói gì về bến cảng?",
        "Theo đoạn văn, ai là người dẫn tàu?",
        "Ý chính của đoạn văn này là gì?",
        "Hai bến cảng nào được nhắc đến trong văn bản?",
        "Bài viết đề cập đến điều gì?",
        "Theo bài báo, có bao nhiêu cầu cảng?",
    ),
    "zh": (
        "作者对港口有什么看法？",
        "根据文章，谁为船只引航？",
        "这段文字的主要内容是什么？",
        "文中提到了哪两个港口？",
        "本文主要讨论什么？",
        "根據這篇文章，港口有幾個泊位？",
        "本研究的目的是什么？",
        "上述材料中提到了几个港口？",
        "文章的标题是什么？",
    ),
}

SELF_CONTAINED = {
    "en": (
        "Who is the author of Faust?",
        "Which article of the constitution protects free speech?",
        "What does the text of the Treaty of Ghent say about prisoners?",
        "What is a document type definition?",
        "Where was the author Ernest Hemingway born?",
        "Who wrote the paper that founded information theory?",
        "Which passage connects the Atlantic and the Pacific Ocean?",
        "What is the context manager's __exit__ for?",
        "How has the study of B-cells helped in treating asthma?",
        "What can be typed in the text field of the login page?",
        "How does this work for contractors?",
    ),
    "ar": (
        "من هو مؤلف كتاب مقدمة ابن خلدون؟",
        "ما هو نص المادة الأولى من الدستور المصري؟",
        "متى توفي الكاتب نجيب محفوظ؟",
        "في أي مقال هاجم إميل زولا الجيش الفرنسي؟",
    ),
    "de": (
        "Wer ist der Autor des Faust?",
        "Welcher Artikel des Grundgesetzes schützt die Menschenwürde?",
        "Wer schrieb den Text der Nationalhymne?",
        "Was steht im Text des Versailler Vertrags über Reparationen?",
        "Was regelt Artikel 5 des Grundgesetzes?",
    ),
    "el": (
        "Τι αναφέρει το κείμενο της Συνθήκης της Λωζάννης για τα νησιά;",
        "Ποιος είναι ο συγγραφέας του Ζορμπά;",
        "Ποιο άρθρο του Συντάγματος προστατεύει την ελευθερία του λόγου;",
        "Ποιος έγραψε το κείμενο της Διακήρυξης της Ανεξαρτησίας;",
    ),
    "es": (
        "¿Quién es el autor de Don Quijote?",
        "¿Qué artículo de la Constitución protege la libertad de expresión?",
        "¿Qué dice el texto del Tratado de Utrecht sobre Gibraltar?",
        "¿Qué autor escribió Cien años de soledad?",
    ),
    "fi": (
        "Kuka on Seitsemän veljeksen kirjoittaja?",
        "Missä artikkelissa Einstein esitti suhteellisuusteorian?",
        "Mikä perustuslain pykälä turvaa sananvapauden?",
        "Kuka lauloi kappaleen Satumaa?",
    ),
    "fr": (
        "Que dit le texte de la loi de 1905 sur les cultes ?",
        "Qui est l'auteur des Misérables ?",
        "Quel article de la Constitution définit la langue de la République ?",
        "Que prévoit le texte de la loi de 1905 ?",
        "Lors de quel passage à Paris Mozart perdit-il sa mère ?",
        "De quel roman Victor Hugo est-il l'auteur ?",
    ),
    "hi": (
        "गोदान के लेखक कौन हैं?",
        "संविधान का कौन सा अनुच्छेद समानता का अधिकार देता है?",
        "किस लेखक ने रामचरितमानस लिखा?",
        "1905 में आइंस्टीन का कौन सा लेख प्रकाशित हुआ?",
    ),
    "it": (
        "Che cosa dice il testo della Costituzione sul lavoro?",
        "Chi è l'autore della Divina Commedia?",
        "Quale articolo della Costituzione tutela il lavoro?",
        "Chi scrisse il testo dell'inno nazionale?",
        "Qual è il brano più famoso dei Pink Floyd?",
    ),
    "ja": (
        "『源氏物語』の作者は誰ですか？",
        "日本文化に影響を与えた宗教は何ですか？",
        "英文中で最もよく使われる文字は何ですか？",
        "この文字を発明したのは誰ですか？",
        "憲法第9条の条文は何を定めていますか？",
    ),
    "ko": (
        "토지의 저자는 누구인가?",
        "헌법의 어느 조항이 표현의 자유를 보장하는가?",
        "지문은 언제 형성되는가?",
        "한글은 누가 만들었는가?",
    ),
    "nl": (
        "Wat zegt de tekst van het Verdrag van Maastricht over de euro?",
        "Wie is de auteur van Max Havelaar?",
        "Welk artikel van de Grondwet verbiedt discriminatie?",
        "Wie schreef de tekst van het Wilhelmus?",
        "In welk document werd de onafhankelijkheid uitgeroepen?",
    ),
    "no": (
        "Hva sier teksten til den norske nasjonalsangen om fjell?",
        "Hvem er forfatteren av Sult?",
        "Hvilken artikkel i EØS-avtalen gjelder fri bevegelse?",
        "Hvem skrev teksten til nasjonalsangen?",
    ),
    "pl": (
        "Co mówi tekst konstytucji o wolności słowa?",
        "Kto jest autorem Pana Tadeusza?",
        "Który artykuł Konstytucji chroni wolność słowa?",
        "Kto napisał tekst hymnu Polski?",
        "Jaki autor pisze kryminały o Wrocławiu?",
    ),
    "pt": (
        "Quem é o autor de Dom Casmurro?",
        "Qual artigo da Constituição protege a liberdade de expressão?",
        "O que diz o texto da Lei Áurea?",
        "Que documento comprova o vínculo com a universidade?",
    ),
    "ro": (
        "Ce spune textul Constituției despre presă?",
        "Cine este autorul romanului Ion?",
        "Ce articol din Constituție garantează libertatea de exprimare?",
        "Cine a scris textul imnului național?",
    ),
    "ru": (
        "Что говорит текст Конституции о свободе слова?",
        "Кто автор романа «Идиот»?",
        "Какая статья Конституции гарантирует свободу слова?",
        "Кто написал текст гимна России?",
        "Какой автор описывает Сибирь в «Прощании с Матёрой»?",
        "В каком документе провозглашена независимость США?",
    ),
    "sw": (
        "Nani ni mwandishi wa riwaya ya Utengano?",
        "Kifungu gani cha katiba kinalinda uhuru wa kusema?",
        "Hati ya Muungano ilitiwa saini lini?",
    ),
    "th": (
        "ใครเป็นผู้เขียนสี่แผ่นดิน",
        "เอกสารใดใช้สมัครหนังสือเดินทาง",
        "บทความใดของไอน์สไตน์ตีพิมพ์ในปี 1905",
    ),
    "tr": (
        "Tutunamayanlar'ın yazarı kimdir?",
        "Anayasanın hangi maddesi ifade özgürlüğünü korur?",
        "Metin Oktay kaç gol attı?",
        "Yazar Orhan Pamuk hangi ödülü aldı?",
        "Hangi makale 1905'te yayımlandı?",
    ),
    "vi": (
        "Theo văn bản của Hiến pháp năm 2013, ai bổ nhiệm Thủ tướng?",
        "Ai là tác giả của Truyện Kiều?",
        "Điều nào của Hiến pháp bảo vệ quyền tự do ngôn luận?",
        "Bài báo nào của Einstein được xuất bản năm 1905?",
        "Cần tài liệu nào để làm hộ chiếu?",
    ),
    "zh": (
        "《红楼梦》的作者是谁？",
        "宪法哪一条保护言论自由？",
        "圣经最早的希腊文中使用了哪个词？",
        "日本研究中心设在哪里？",
        "英文中最常用的字母是什么？",
    ),
}


def cases(known: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(language, question) for language, some in known.items() for question in some]


def test_every_language_has_its_cases() -> None:
    assert set(POINTING) == set(SELF_CONTAINED) == set(LANGUAGES)
    assert min(len(some) for some in POINTING.values()) >= 5
    assert min(len(some) for some in SELF_CONTAINED.values()) >= 3


@pytest.mark.parametrize(("language", "question"), cases(POINTING))
def test_what_points_at_the_text_is_seen(language: str, question: str) -> None:
    assert points_at_text(question, language)
    assert points_at_text(question)


@pytest.mark.parametrize(("language", "question"), cases(SELF_CONTAINED))
def test_what_names_its_subject_passes(language: str, question: str) -> None:
    assert not points_at_text(question, language)


@pytest.mark.parametrize(("language", "known"), [(x, y.examples) for x, y in LANGUAGES.items()])
def test_the_worked_examples_pass(
    language: str, known: tuple[tuple[str, str, str, str], ...]
) -> None:
    assert not any(points_at_text(question, language) for _, _, question, _ in known)


def test_a_language_without_patterns_is_held_to_all() -> None:
    assert points_at_text("What does the author say?", "cs")
    assert not points_at_text("Kdo napsal Babičku?", "cs")
